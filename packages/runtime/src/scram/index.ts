export { type LatchRecord, ScramLatch, type ScramStatus } from "./latch.ts";
