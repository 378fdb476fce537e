import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createSandbox } from "../../src/sandbox/index.ts";
import { BACK_ENDS, requireInstalled } from "../support/back-ends.ts";

// The system call filter names what is allowed: what these tools ask for must be in it.

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sov-tools-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const NODE = `const { Worker } = require("worker_threads");
new Worker("1", { eval: true }).on("exit", () => require("child_process").execFile("true", () => {
  const server = require("http").createServer((_, answer) => answer.end("well")).listen(0, () =>
    fetch("http://127.0.0.1:" + server.address().port).then((got) => got.text()).then((text) => {
      console.log(text);
      process.exit();
    }));
}));`;
const PYTHON = `import asyncio, multiprocessing, sqlite3, sys
def square(x): return x * x
if __name__ == "__main__":
    assert multiprocessing.Pool(2).map(square, [3]) == [9]
    async def echo():
        child = await asyncio.create_subprocess_exec("echo", "x", stdout=-1)
        return (await child.communicate())[0]
    assert asyncio.run(echo()) == b"x\\n"
    base = sqlite3.connect("/tmp/base"); base.execute("create table t(a)"); base.commit()
    print("well")`;

const TOOLS: [string, string][] = [
  ["Node", `/node/node -e '${NODE}'`],
  [
    "git",
    `git init -q one && cd one && seq 1000 > file && git add file
     git -c user.name=a -c user.email=b commit -qm message && git gc -q
     git clone -q . ../two && git -C ../two fsck && echo well`,
  ],
  ["Python", `cat > program.py <<'END'\n${PYTHON}\nEND\n/usr/bin/python3 program.py`],
  [
    "a compiler and make",
    `printf '#include <pthread.h>\\nvoid *f(void *a) { return a; }\\n' > main.c
     printf 'int main() { pthread_t t; return pthread_create(&t, 0, f, 0); }\\n' >> main.c
     printf 'main: main.o\\n\\tcc -o main main.o\\nmain.o: main.c\\n\\tcc -O2 -c main.c\\n' > Makefile
     make -s -j2 && ./main && echo well`,
  ],
  [
    "a shell, tar, sort and a lock",
    `set -e; seq 20000 | sort -R | sort -n | tail -1 | grep -q 20000
     tar czf all.tar.gz -C /usr include/linux && tar tzf all.tar.gz > /dev/null
     cp -a all.tar.gz copy; flock /tmp/lock true; mkfifo pipe; (echo x > pipe) & cat pipe > /dev/null
     timeout 0.1 sleep 9 || script -qc 'echo well' /dev/null | tr -d '\\r'`,
  ],
];

describe.each(BACK_ENDS)("under the system call filter, in $title", (one) => {
  beforeEach(() => {
    requireInstalled(one.absent);
  });

  it.each(TOOLS)("%s does its work", async (name, script) => {
    const out = join(folder, `${one.backend} ${name}`);
    mkdirSync(out);
    const { stdout, stderr } = await createSandbox({ backend: one.backend }).run(
      {
        argv: ["/bin/bash", "-c", script],
        cwd: "/out",
        readOnly: [{ source: dirname(process.execPath), target: "/node" }],
        writable: [{ source: out, target: "/out", own: true }],
        env: {},
        limits: {
          wallMs: 60_000,
          cpuSeconds: 60,
          memoryBytes: 2 * 1024 ** 3,
          processes: 64,
          outputBytes: 100_000,
          fileBytes: 100_000_000,
        },
      },
      new AbortController().signal,
    );
    const said = Buffer.concat([stderr, stdout]).toString("utf8");
    expect(said.trim().split("\n").at(-1)).toBe("well");
  });
});
