export { type LogLine, RecordingLogger } from '../../src/testing/conformance/recording.ts'
