import type { ChildProcess } from "node:child_process";
import { availableParallelism } from "node:os";
import {
  type ControlGroups,
  Crowd,
  CROWDED,
  identify,
  type ProcessIdentity,
  startTrustedService,
} from "../process/index.ts";
import { Silence, type LivePath } from "../scram/index.ts";
import { DEAD_MAN_SCRIPT } from "./dead-man-script.ts";

/** It has little to do, and takes its time only where the machine does. */
const PATIENCE = 4;
const SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin";

export interface DeadManOptions {
  readonly root: ControlGroups;
  /** The sentinel's working folder, where a wedge is reported. */
  readonly folder: string;
  /** It died, or did not answer; another takes its place. */
  readonly onLost: (why: "died" | "silent") => void;
}

/**
 * A shell beside the sentinel: it kills all that the sentinel owns when that one dies, and when it
 * lives and does not answer. Each watches the other.
 */
export class DeadMan {
  readonly #options: DeadManOptions;
  /** What one that takes its place is told, by the line's subject. */
  readonly #known = new Map<string, string>();
  #child: ChildProcess;
  #silence: Silence;
  #owes = false;
  #silent = false;
  #ending = false;

  constructor(options: DeadManOptions) {
    this.#options = options;
    this.#child = this.#start();
    this.#silence = this.#watched();
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** We are alive; is it? To be called every `BEAT_MS`. */
  beat(): void {
    if (this.#owes && this.#silence.missed()) {
      this.#silent = true;
      this.#child.kill("SIGKILL");
    }
    this.#owes = true;
    this.#say("b");
  }

  /** Tell it whom to kill: the engine, with which paths die. */
  watch({ pid, started }: ProcessIdentity): void {
    this.#keep("engine", `e ${pid} ${started}`);
  }

  /** A path's first processes, which die where no control group does. */
  watchPath({ path_id, inner, outer }: LivePath): void {
    const known = [inner, outer].filter((one) => one !== null);
    const words = known.map(({ pid, started }) => `${pid} ${started}`);
    this.#keep(path_id, `p ${path_id} ${words.join(" ")}`);
  }

  forgetPath(pathId: string): void {
    if (this.#known.delete(pathId)) this.#say(`x ${pathId}`);
  }

  /** A stop keeps us busy with long system calls, and what it covers is being killed already. */
  stopping(now: boolean): void {
    this.#keep("stopping", `g ${now ? 1 : 0}`);
  }

  /** End it without harm: for a sentinel that leaves nothing behind. */
  dismiss(): void {
    this.#ending = true;
    this.#child.kill("SIGKILL");
  }

  #watched(): Silence {
    const crowd = new Crowd(this.#options.root.timeFile);
    return new Silence(this.#child.pid ?? -1, crowd, PATIENCE);
  }

  #keep(subject: string, line: string): void {
    this.#known.set(subject, line);
    this.#say(line);
  }

  #say(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  #start(): ChildProcess {
    const { root, folder } = this.#options;
    const own = identify(process.pid);
    const crowd = CROWDED * availableParallelism();
    const us = [root.killFile() ?? "", String(process.pid), own?.started ?? "", folder];
    const words = [...us, String(crowd), ...root.preference(true).flat()];
    const child = startTrustedService(
      "dead-man",
      "/bin/bash",
      ["--norc", "--noprofile", "-c", DEAD_MAN_SCRIPT, "sovereign-dead-man", ...words],
      { env: { PATH: SYSTEM_PATH }, stdio: ["pipe", "pipe", "ignore"], detached: true },
    );
    child.stdin?.on("error", () => undefined);
    child.stdout?.on("error", () => undefined);
    child.stdout?.on("data", () => {
      this.#owes = false;
      this.#silence.heard();
    });
    child.on("exit", () => {
      if (!this.#ending) this.#replace();
    });
    return child;
  }

  /** Meanwhile the engine still dies with us, by the kernel's hand, and notices our silence. */
  #replace(): void {
    this.#options.onLost(this.#silent ? "silent" : "died");
    this.#silent = false;
    this.#owes = false;
    this.#child = this.#start();
    this.#silence = this.#watched();
    for (const line of this.#known.values()) this.#say(line);
  }
}
