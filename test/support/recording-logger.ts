export { RecordingLogger } from '../../src/testing/conformance/recording.ts'
