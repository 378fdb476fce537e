import type { ChildProcess } from "node:child_process";
import {
  type ControlGroups,
  type ProcessIdentity,
  startTrustedService,
} from "../../process/index.ts";

/**
 * Reads lines `PID START_TIME` that name the engine; at the end of file the sentinel is dead, and
 * everything that it owned must die: by control group, and the engine by its pid.
 */
const SCRIPT = `while IFS=' ' read -r pid started; do engine=$pid since=$started; done
[ -z "$1" ] || echo 1 > "$1"
[ -n "$engine" ] && read -r stat < "/proc/$engine/stat" || exit 0
set -- \${stat##*) }
[ "\${20}" = "$since" ] && kill -9 "$engine"`;

/** A shell that outlives the sentinel by a moment, and uses it. */
export class DeadMan {
  readonly #root: ControlGroups;
  readonly #onLost: () => void;
  #child: ChildProcess;
  #engine: ProcessIdentity | null = null;
  #ending = false;

  constructor(root: ControlGroups, onLost: () => void) {
    this.#root = root;
    this.#onLost = onLost;
    this.#child = this.#start();
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Tell it whom to kill. */
  watch(engine: ProcessIdentity): void {
    this.#engine = engine;
    this.#child.stdin?.write(`${engine.pid} ${engine.started}\n`);
  }

  /** End it without harm: for a sentinel that leaves nothing behind. */
  dismiss(): void {
    this.#ending = true;
    this.#child.kill("SIGKILL");
  }

  #start(): ChildProcess {
    const child = startTrustedService(
      "dead-man",
      "/bin/sh",
      ["-c", SCRIPT, "sovereign-dead-man", this.#root.killFile() ?? ""],
      { env: { PATH: "/usr/bin:/bin" }, stdio: ["pipe", "ignore", "ignore"], detached: true },
    );
    child.stdin?.on("error", () => undefined);
    child.on("exit", () => {
      if (this.#ending) return;
      // Another takes its place; meanwhile the engine still dies with us, by the kernel's hand.
      this.#onLost();
      this.#child = this.#start();
      if (this.#engine !== null) this.watch(this.#engine);
    });
    return child;
  }
}
