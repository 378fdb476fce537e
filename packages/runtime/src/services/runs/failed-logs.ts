import type { ArtifactRef } from "@sovereign/core";
import type { ArtifactStore, FailedLog } from "../../runs/index.ts";
import type { RunOptions } from "./lifecycle.ts";

/** What a run's programs said that did not end well: told to whoever watches, and evidence, too. */
export class FailedLogs {
  readonly refs: ArtifactRef[] = [];
  readonly #onProgress: RunOptions["onProgress"];

  constructor({ onProgress }: RunOptions) {
    this.#onProgress = onProgress;
  }

  of(artifacts: ArtifactStore): (log: FailedLog) => void {
    return ({ step, ref, lines }) => {
      this.refs.push(ref);
      const log = artifacts.pathOf(ref);
      this.#onProgress({ event: "command.failed", step, log, bytes: ref.bytes, lines });
    };
  }
}
