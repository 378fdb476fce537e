import type { ChildProcess } from "node:child_process";

/** @returns where a server says that it listens */
export function listening(server: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let out = "";
    server.stdout?.on("data", (chunk) => {
      out += String(chunk);
      const found = /"url":"([^"]+)"/.exec(out)?.[1];
      if (found !== undefined) resolve(found);
    });
    let err = "";
    server.stderr?.on("data", (chunk) => (err += String(chunk)));
    server.once("close", () => {
      reject(new Error(`the server ended: ${err}`));
    });
  });
}
