import { createServices } from "../../src/services/index.ts";

// One process that archives or restores, and kills itself at one of its steps. Started by a test.

const [command = "", file = "", before = "", killAt = "", count = "1"] = process.argv.slice(2);
let left = Number(count);

const onProgress = (progress: { readonly event: string; readonly step?: string }): void => {
  if (![progress.event, progress.step].includes(killAt)) return;
  left -= 1;
  if (left === 0) process.kill(process.pid, "SIGKILL");
};

const services = createServices(process.env);
const done =
  command === "archive"
    ? await services.archiveLedger({ tenantId: "acme", before, out: file, onProgress })
    : await services.restoreArchive(file, onProgress);
process.stdout.write(JSON.stringify(done));
