import { type ErrorRow, row } from "../kinds.ts";

/** Codes thrown by the executor. */
export const executorCodes = {
  ERR_GIT_MISSING: row.fatal("git is not installed, or cannot be started."),
  ERR_GIT_FAILED: row.fatal("A git command that Sovereign started failed."),
  ERR_GIT_LIMIT: row.fatal(
    "A git command that Sovereign started exceeded a limit of time, memory or output.",
  ),
  ERR_REPOSITORY_REFUSED: row.input(
    "Sovereign cannot work on this repository in its present state.",
  ),
  ERR_REPOSITORY_BUSY: {
    ...row.transient("Another run or git itself holds the repository."),
    http: 409,
  },
  ERR_REPOSITORY_DAMAGED: row.transient(
    "The repository lacks objects that a commit of a branch needs.",
  ),
  ERR_REPOSITORY_MOVED: {
    ...row.input("The branch is not where it was when the run began."),
    http: 409,
  },
  ERR_REPOSITORY_DIRTY: {
    ...row.input("An edit of the user's own is in the way of the run's changes."),
    http: 409,
  },
  ERR_CHANGE_REFUSED: row.denied("A step changed what no step may change."),
  ERR_CHANGE_MISFIT: row.input("A patch or an edit does not fit the file that it is for."),
  ERR_CI_FILE_REFUSED: row.denied(
    "A step would change a file that tools on other machines run, and the policy gives no leave.",
  ),
  ERR_CHANGE_FILES: row.denied("More files were changed than the policy allows."),
  ERR_CHANGE_FILE_SIZE: row.denied("A changed file is larger than the policy allows."),
  ERR_CHANGE_TOTAL: row.denied("More bytes were written altogether than the policy allows."),
  ERR_CHANGE_UNWATCHED: row.fatal(
    "What a command writes could no longer be measured, so the command was stopped.",
  ),
  ERR_BRING_BACK_MISMATCH: row.integrity("The patches do not give the tree that was judged."),
  ERR_REQUEST_INVALID: row.input("The request does not match its schema, or cannot be run."),
  ERR_REQUEST_MODE: row.denied("The request's mode may not change a repository."),
  ERR_REQUEST_BLOCKED: row.denied("The request has questions that nobody answered."),
  ERR_ANSWERS_INVALID: row.input("The answers do not answer the run's questions."),
  ERR_OPERATION_REFUSED: row.denied(
    "The request's own allowed_operations do not name this operation.",
  ),
  ERR_DISK_LOW: row.transient("The disk has too little room left for commands."),
  ERR_COMMAND_FAILED: row.fatal("A command ended with a failure."),
  ERR_COMMAND_TIMEOUT: row.denied("A command took longer than the policy allows."),
  ERR_COMMAND_CPU: row.denied("A command used more processor time than the policy allows."),
  ERR_COMMAND_MEMORY: row.denied("A command used more memory than the policy allows."),
  ERR_COMMAND_PROCESSES: row.denied(
    "A command failed after it was refused a process: the policy allows no more.",
  ),
  ERR_COMMAND_OUTPUT: row.denied("A command printed more than the policy allows."),
  ERR_COMMAND_FILE_SIZE: row.denied("A command wrote a larger file than the policy allows."),
  ERR_ROLLBACK_NOTHING: row.input("The run left nothing to roll back."),
} as const satisfies Record<string, ErrorRow>;
