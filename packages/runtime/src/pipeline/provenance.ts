import type { ArtifactRef, SlsaProvenance } from "@sovereign/core";
import type { StageOf } from "./pipeline-schema.ts";

export interface ProvenanceOptions {
  readonly stage: StageOf<"model_training">;
  readonly runId: string;
  readonly seed: number;
  readonly inputs: readonly ArtifactRef[];
  /** Relative path → SHA-256 of the programs that ran. */
  readonly programs: Readonly<Record<string, string>>;
  readonly modulesDigest: string | null;
  readonly startedOn: string;
  readonly finishedOn: string;
}

/**
 * How a model came to be: data, code, parameters and environment in; model and metrics out.
 * @see SLSA Provenance v1
 */
export function provenanceOf(options: ProvenanceOptions): SlsaProvenance {
  const { stage, inputs, programs, modulesDigest } = options;
  const dependency = (
    name: string,
    sha256: string,
  ): SlsaProvenance["buildDefinition"]["resolvedDependencies"][number] => ({
    name,
    digest: { sha256 },
  });
  return {
    buildDefinition: {
      buildType: "urn:sovereign:build:model-training:v1",
      externalParameters: {
        program: stage.program,
        params: stage.params ?? {},
        seed: options.seed,
      },
      internalParameters: {
        node: process.version,
        platform: process.platform,
        architecture: process.arch,
      },
      resolvedDependencies: [
        ...inputs.map((input) => dependency(input.name, input.sha256)),
        ...Object.entries(programs).map(([path, sha256]) => dependency(`program/${path}`, sha256)),
        ...(modulesDigest === null ? [] : [dependency("node_modules", modulesDigest)]),
      ],
    },
    runDetails: {
      builder: {
        id: "urn:sovereign:builder:sandboxed-program:v1",
        version: { node: process.version },
      },
      metadata: {
        invocationId: `${options.runId}/${stage.name}`,
        startedOn: options.startedOn,
        finishedOn: options.finishedOn,
      },
      byproducts: [],
    },
  };
}
