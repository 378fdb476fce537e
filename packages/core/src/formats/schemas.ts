import type { z } from "zod";
import { action, actionContext, policyDecision, usage } from "./action.ts";
import { apiCaller, apiToken, oidcIssuer, oidcSubject, tokenId } from "./api.ts";
import { complianceBundle } from "./bundle.ts";
import {
  artifactRef,
  count,
  digest,
  installationId,
  json,
  jsonObject,
  keyId,
  mode,
  name,
  nodeId,
  nonce,
  runId,
  schemaVersion,
  streamName,
  timestamp,
} from "./common.ts";
import {
  checksums,
  executionResult,
  gitId,
  intentStatus,
  repositoryRollbackProof,
  sandboxProof,
  tapeEvent,
} from "./exec-evidence.ts";
import { answerPack, execRequest, questionPack } from "./exec-request.ts";
import { eventType, ledgerEntry, placedEntry, severity } from "./entry.ts";
import { entryData } from "./events.ts";
import { envelope } from "./envelope.ts";
import { installationEventData } from "./installation-events.ts";
import { keyPurpose, keyRecord, predicates, slsaProvenance, statement } from "./predicates.ts";
import {
  killReceipt,
  scramEvent,
  scramEventId,
  scramOrigin,
  scramReason,
  scramScope,
} from "./scram.ts";
import { modelBudget, modelCallEnd, modelUsage, modelWire } from "./model-call.ts";
import { toolResultPack, toolTaskPack, toolType, workScope } from "./tool-packs.ts";
import { sourceStatement } from "./source-statement.ts";
import { toolset } from "./toolset.ts";
import { traceHead, traceStep } from "./trace.ts";
import { trustRoot } from "./trust-root.ts";
import { verdict, verificationReport, verificationStep } from "./verification-report.ts";

/** The fields that formats are made of, for formats that other packages define. */
export const fields = {
  apiCaller,
  apiToken,
  artifactRef,
  count,
  digest,
  eventType,
  gitId,
  installationId,
  json,
  jsonObject,
  keyId,
  keyPurpose,
  keyRecord,
  mode,
  modelBudget,
  modelCallEnd,
  modelUsage,
  modelWire,
  name,
  nodeId,
  nonce,
  oidcIssuer,
  oidcSubject,
  runId,
  schemaVersion,
  scramEventId,
  severity,
  streamName,
  timestamp,
  tokenId,
  usage,
  toolType,
  verdict,
  verificationStep,
  workScope,
} as const;

/** The definitions of the documents that we exchange. */
export const formats = {
  metadata: jsonObject,
  scramEvent,
  killReceipt,
  scramOrigin,
  scramReason,
  scramScope,
  action,
  actionContext,
  policyDecision,
  ledgerEntry,
  placedEntry,
  envelope,
  statement,
  slsaProvenance,
  sourceStatement,
  trustRoot,
  complianceBundle,
  verificationReport,
  execRequest,
  questionPack,
  answerPack,
  tapeEvent,
  checksums,
  executionResult,
  sandboxProof,
  toolset,
  toolTaskPack,
  toolResultPack,
  repositoryRollbackProof,
  intentStatus,
} as const;

/** Every format that is published as a JSON Schema, by its name. */
export const formatSchemas: Readonly<Record<string, z.ZodType>> = {
  action,
  "action-context": actionContext,
  "policy-decision": policyDecision,
  "ledger-entry": ledgerEntry,
  "placed-entry": placedEntry,
  envelope,
  statement,
  "source-statement": sourceStatement,
  ...predicates,
  "trust-root": trustRoot,
  "trace-head": traceHead,
  "trace-step": traceStep,
  "compliance-bundle": complianceBundle,
  "verification-report": verificationReport,
  "exec-request": execRequest,
  "question-pack": questionPack,
  "answer-pack": answerPack,
  "run-tape-event": tapeEvent,
  checksums,
  "execution-result": executionResult,
  "sandbox-proof": sandboxProof,
  "tool-task-pack": toolTaskPack,
  "tool-result-pack": toolResultPack,
  "repository-rollback-proof": repositoryRollbackProof,
  "intent-status": intentStatus,
  "scram-event": scramEvent,
  ...Object.fromEntries(
    Object.entries({ ...entryData, ...installationEventData }).map(([name, data]) => [
      `event.${name}`,
      data,
    ]),
  ),
};

// Whoever holds them can read by them, and put no other in their place.
for (const table of [fields, formats, formatSchemas]) Object.freeze(table);
