import { type ErrorRow, row } from "../kinds.ts";

/** Codes thrown by the executor. */
export const executorCodes = {
  ERR_GIT_MISSING: row.fatal("There is no git to start."),
  ERR_GIT_FAILED: row.fatal("A git command of ours failed."),
  ERR_GIT_LIMIT: row.fatal("A git command of ours took longer, or said more, than it may."),
  ERR_REPOSITORY_REFUSED: row.input("The repository is not one that we can work on now."),
  ERR_REPOSITORY_BUSY: {
    ...row.transient("Another run or git itself holds the repository."),
    http: 409,
  },
  ERR_REPOSITORY_MOVED: {
    ...row.input("The branch is not where it was when the run began."),
    http: 409,
  },
  ERR_REPOSITORY_DIRTY: {
    ...row.input("An edit of the user's own is in the way of the run's changes."),
    http: 409,
  },
  ERR_CHANGE_REFUSED: row.denied("A step changed what no step may change."),
  ERR_CHANGE_LIMIT: row.denied("A step changed more than the policy's limits allow."),
  ERR_BRING_BACK_MISMATCH: row.integrity("The patches do not give the tree that was judged."),
} as const satisfies Record<string, ErrorRow>;
