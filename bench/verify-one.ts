import { createReadStream } from "node:fs";
import { verifyAudit } from "@sovereign/verify";
import { AuditPool } from "../packages/verify/src/audit-pool.ts";

/** One verification in a process of its own, so that its peak of memory is its own: FILE THREADS. */
const [file = "", threads = "0"] = process.argv.slice(2);
const lines = threads === "0" ? undefined : new AuditPool(Number(threads));
const before = process.resourceUsage().maxRSS;
const start = performance.now();
const chunks = createReadStream(file, { highWaterMark: 1 << 20 });
const report = await verifyAudit(chunks, { checkpoint: null, ...(lines && { lines }) });
const seconds = (performance.now() - start) / 1000;
const { maxRSS } = process.resourceUsage();
await lines?.close();
console.log(JSON.stringify({ seconds, before, maxRSS, report: JSON.stringify(report) }));
