export { type BallotGiven, ballotRules } from "./ballot-rules.ts";
export {
  type Ballot,
  type CastVote,
  type ConsensusResult,
  type ConsensusStatus,
  type Fault,
  type FaultKind,
  judgeVotes,
  quorumOf,
} from "./judge-votes.ts";
export { judgeModelClaims, type ModelClaims, modelClaims } from "./model-claims.ts";
export {
  judgeResultClaims,
  type ResultAcceptance,
  type ResultClaims,
  resultClaims,
} from "./result-claims.ts";
