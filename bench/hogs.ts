import { type ChildProcess, spawn } from "node:child_process";

/** Processes that compute without end, beside what is measured. They die with us, however we end. */
export class Hogs {
  readonly #all: readonly ChildProcess[];

  constructor(count: number) {
    const words = ["--pdeathsig", "KILL", "--", "/bin/sh", "-c", "while :; do :; done"];
    this.#all = Array.from({ length: count }, () =>
      spawn("/usr/bin/setpriv", words, { stdio: "ignore" }),
    );
  }

  end(): void {
    for (const one of this.#all) one.kill("SIGKILL");
  }
}
