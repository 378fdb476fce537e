export { RunTrace, type TraceChange, type TracedEntry, traceIdOf, traceSealOf } from "./trace.ts";
