import type { ChildProcess } from "node:child_process";
import type { Socket } from "node:net";
import { parseFormat, SovereignError } from "@sovereign/core";
import {
  type ControlGroups,
  Crowd,
  identify,
  type ProcessIdentity,
  startTrustedService,
} from "../process/index.ts";
import {
  Frames,
  readFrame,
  type EngineMessage,
  type EngineOrder,
  engineMessage,
  Silence,
  ENGINE_GROUP,
  MARKER_VARIABLE,
} from "../scram/index.ts";

/** Joins the engine's group, then dies with the sentinel's main thread, whoever kills that. */
const LAUNCH = `for folder in $1; do echo 0 > "$folder/cgroup.procs" || exit 126; done
shift; exec setpriv --pdeathsig KILL -- "$@"`;

/** In wake-ups of ours: until it listens it has no answer to give. */
const START_BEATS = 300;
const NOTHING = new Uint8Array();

export interface EngineProcessOptions {
  /** Node and the engine's program with its arguments. */
  readonly command: readonly string[];
  /** The installation's, for the marker by which a sweep knows the engine. */
  readonly name: string;
  readonly root: ControlGroups;
  /** Where system programs are looked for, as in `PATH`. */
  readonly searchPath: string;
  readonly stderr: number;
  readonly onMessage: (message: EngineMessage) => void;
  readonly onExit: () => void;
  /** It lives and does not answer. */
  readonly onSilent: () => void;
}

/** The engine, as its parent sees it: the only launcher of paths. */
export class EngineProcess {
  readonly identity: ProcessIdentity;
  readonly ready: Promise<void>;
  readonly #child: ChildProcess;
  readonly #frames: Frames;
  readonly #silence: Silence;
  readonly #onSilent: () => void;
  #listens = false;
  #owes = false;
  #beats = 0;

  constructor(options: EngineProcessOptions) {
    const group = options.root.child(ENGINE_GROUP);
    this.#child = startTrustedService(
      "engine",
      "/bin/sh",
      ["-c", LAUNCH, "sh", group.folders.join(" "), ...options.command],
      {
        env: {
          PATH: options.searchPath,
          [MARKER_VARIABLE]: `${options.name}/${ENGINE_GROUP}`,
        },
        stdio: ["ignore", "ignore", options.stderr, "pipe"],
        detached: false,
      },
    );
    const { pid } = this.#child;
    const identity = pid === undefined ? null : identify(pid);
    if (identity === null) {
      throw new SovereignError("ERR_SCRAM_SENTINEL_START", "The engine could not be started.");
    }
    this.identity = identity;
    let announce: () => void = () => undefined;
    let fail: (error: Error) => void = () => undefined;
    this.ready = new Promise((resolve, reject) => {
      announce = resolve;
      fail = reject;
    });
    this.ready.catch(() => undefined);
    this.#silence = new Silence(identity.pid, new Crowd(options.root.timeFile));
    this.#onSilent = options.onSilent;
    this.#frames = new Frames(this.#child.stdio[3] as unknown as Socket, (kind, content) => {
      // Whatever it says, it says that it is alive.
      this.#owes = false;
      this.#silence.heard();
      if (kind !== "json") return;
      const message = parseFormat(engineMessage, readFrame(content), "engine message");
      if (message.t === "ready") {
        this.#listens = true;
        announce();
      } else options.onMessage(message);
    });
    this.#child.on("exit", () => {
      fail(new SovereignError("ERR_SANDBOX_ENGINE_LOST", "The engine has ended."));
      options.onExit();
    });
  }

  send(order: EngineOrder): void {
    this.#frames.sendJson(order);
  }

  /** We are alive; is it? To be called every `BEAT_MS`. */
  beat(): void {
    this.#beats += 1;
    const late = this.#listens ? this.#owes && this.#silence.missed() : this.#beats > START_BEATS;
    if (late) {
      this.#onSilent();
      return;
    }
    this.#owes = this.#listens;
    this.#frames.send("in", NOTHING);
  }

  /** Dead at once, whatever it is doing. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }
}
