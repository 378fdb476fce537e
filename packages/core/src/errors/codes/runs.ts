import { type ErrorRow, row } from "../kinds.ts";

/** Codes thrown by runs, pipeline and cli. */
export const runsCodes = {
  ERR_BATCH_INVALID: row.input("The file is not a batch that can be run."),
  ERR_PIPELINE_TOO_LARGE: row.input("The pipeline file is larger than the limit."),
  ERR_PIPELINE_SYNTAX: row.input("The pipeline file is not plain YAML 1.2."),
  ERR_PIPELINE_INVALID: row.input("The pipeline does not match its schema."),
  ERR_PIPELINE_REFERENCE: row.input(
    "The pipeline names something that does not exist, or that stands later.",
  ),
  ERR_PIPELINE_FILE: row.input("A file that the pipeline names is not what it should be."),
  ERR_PROGRAM_CHANGED: row.integrity("A program is not the one that was authorised."),
  ERR_PROGRAM_FAILED: row.fatal("A program ended with a failure."),
  ERR_PROGRAM_KILLED: row.fatal("A program was killed."),
  ERR_CONSENSUS_FAILED: row.denied("The agents did not agree to approve."),
  ERR_VERDICT_MALFORMED: row.input("An agent's verdict does not match its format."),
  ERR_PROGRAM_OUTPUT: row.input("A program's output is not what the pipeline declares."),
  ERR_REGISTRY_UNKNOWN: { ...row.input("The registry does not have this model."), http: 404 },
  ERR_REGISTRY_DIGEST: row.input("The model's bytes have another digest than was said."),
  ERR_REGISTRY_CONFLICT: {
    ...row.input("Another version is current than was expected."),
    http: 409,
  },
  ERR_REGISTRY_CORRUPT: row.integrity("What the model registry holds has been changed."),
  ERR_REGISTRY_UNAVAILABLE: row.transient("The folder of the model registry cannot be used now."),
  ERR_TENANT_INVALID: row.input("The tenant's name cannot be used."),
  ERR_DATA_FOLDER: row.fatal("The data folder cannot be used."),
  ERR_RUN_DIVERGED: row.integrity("A resumed run does not match what it was admitted with."),
  ERR_RUN_NOT_FOUND: row.input("No such run."),
  ERR_LOG_NOT_FOUND: row.input("The run has no output of such a command."),
  ERR_CHECKPOINT_MISSING: row.transient("The log has no signed head over the run yet."),
  ERR_ARTIFACT_CHANGED: row.integrity("An artifact is not what the evidence names."),
  ERR_OUTPUT_REFUSED: row.denied("A program left an output that is not accepted."),
  ERR_RUN_SEALED: row.input("The run has ended; it cannot be changed."),
  ERR_NOTHING_PENDING: row.input("The run waits for no approval."),
  ERR_APPROVER_REFUSED: row.denied("This approver may not approve this action."),
  ERR_FILE_UNWRITABLE: row.input("A file that was named cannot be written."),
} as const satisfies Record<string, ErrorRow>;
