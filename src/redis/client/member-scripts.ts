/**
 * Scripts of the members of a group. A member is one consumption, named by a token. It beats while it lives; the times are
 * those of the server. Its value is its last beat, its connection, its mode (`shares`, `leaves` or `competes`) and
 * its consumer name.
 */
const CLOCK = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

/**
 * KEYS: members, departed, leases; ARGV: token, connection, mode, name, expiry, count of partitions, fence of new leases,
 * then pairs of partition and fence that the member holds. Records a beat. A member of an ordered group takes partitions
 * without an owner up to its share. The members with the most partitions have the larger shares, so that few partitions
 * move. Returns the number of partitions to give up, the pairs that the member holds, the other members with the age of
 * their beats, and the departed consumers.
 */
export const BEAT = `${CLOCK}
local token, mode, name = ARGV[1], ARGV[3], ARGV[4]
local value = string.format('%.0f', now) .. ' ' .. ARGV[2] .. ' ' .. mode .. ' ' .. name
redis.call('HSET', KEYS[1], token, value)
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('SREM', KEYS[2], name)
local all = redis.call('HGETALL', KEYS[1])
local alive, sharing, others = {}, {}, {}
for i = 1, #all, 2 do
  local beat, itsMode = string.match(all[i + 1], '^(%d+) %S+ (%a+) ')
  alive[all[i]] = true
  if itsMode == 'shares' then sharing[#sharing + 1] = all[i] end
  if all[i] ~= token then others[#others + 1] = { all[i], all[i + 1], now - tonumber(beat) } end
end
local departed = redis.call('SMEMBERS', KEYS[2])
if mode == 'competes' then return { 0, {}, others, departed } end
local count = tonumber(ARGV[6])
for i = 8, #ARGV, 2 do redis.call('HSETNX', KEYS[3], ARGV[i], ARGV[i + 1]) end
local owned, free, held = {}, {}, {}
for partition = 0, count - 1 do
  local fence = redis.call('HGET', KEYS[3], partition)
  local owner = fence and string.match(fence, '^[^#]+')
  if owner and alive[owner] then
    owned[owner] = (owned[owner] or 0) + 1
    if owner == token then
      held[#held + 1] = tostring(partition)
      held[#held + 1] = fence
    end
  else
    free[#free + 1] = partition
  end
end
if mode == 'leaves' then return { 0, held, others, departed } end
table.sort(sharing, function(a, b)
  local x, y = owned[a] or 0, owned[b] or 0
  if x ~= y then return x > y end
  return a < b
end)
local share = math.floor(count / #sharing)
for rank, member in ipairs(sharing) do
  if member == token and rank <= count % #sharing then share = share + 1 end
end
local has = owned[token] or 0
for i = 1, math.min(#free, share - has) do
  redis.call('HSET', KEYS[3], free[i], ARGV[7])
  held[#held + 1] = tostring(free[i])
  held[#held + 1] = ARGV[7]
end
return { math.max(0, has - share), held, others, departed }`

/** A function that removes a member. Its name departs unless another member, such as its successor, has the same name. */
const REMOVE = `
local function remove(members, departed, token, name, leavesEntries)
  redis.call('HDEL', members, token)
  if not leavesEntries then return end
  for _, value in ipairs(redis.call('HVALS', members)) do
    if string.match(value, '^%d+ %S+ %a+ (.*)$') == name then return end
  end
  redis.call('SADD', departed, name)
end
`

/** KEYS: members, departed; ARGV: token, value. Removes a member that died, unless it has beaten since. */
export const EVICT = `${REMOVE}
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
local name = string.match(ARGV[2], '^%d+ %S+ %a+ (.*)$')
remove(KEYS[1], KEYS[2], ARGV[1], name, true)
return 1`

/** KEYS: members, departed; ARGV: token, name, 1 if it leaves entries. Removes this member. */
export const LEAVE = `${REMOVE}
remove(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3] == '1')
return 1`

/** KEYS: leases; ARGV: partition, fence. Gives a partition up. */
export const GIVE_UP = `
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])`
