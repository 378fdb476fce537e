import { canonicalBytes, SovereignError } from "@sovereign/core";
import type { RunRow } from "../runs/index.ts";
import {
  type ApiServices,
  limitsOf,
  type OwnSkillReport,
  type SubmittedGoal,
} from "../services/index.ts";
import { followEvents } from "./events.ts";
import { defineRoute, json, ok, type Route } from "./route.ts";
import * as schemas from "./schemas.ts";
import { STATE_ROUTES } from "./state-routes.ts";
import type { z } from "zod";

/** Every route. What a request may hold, and what is answered, is checked and published from here. */
export const ROUTES: readonly Route[] = [
  defineRoute({
    id: "getHealth",
    method: "GET",
    path: "/healthz",
    summary: "Whether the process answers",
    scope: "public",
    answers: ok(schemas.health, "It does"),
    handle: () => Promise.resolve(json({ status: "ok" })),
  }),
  defineRoute({
    id: "getReadiness",
    method: "GET",
    path: "/readyz",
    summary: "Whether a goal that is submitted now would be begun",
    scope: "public",
    answers: {
      200: { text: "It would", schema: schemas.readiness },
      503: { text: "It would not: `code` says why", schema: schemas.readiness },
    },
    handle: async ({ services }) => {
      const { ready, code } = await services.readiness();
      return json({ status: ready ? "ready" : "unready", code }, ready ? 200 : 503);
    },
  }),
  defineRoute({
    id: "getCaller",
    method: "GET",
    path: "/v1/caller",
    summary: "Whose token this is",
    scope: null,
    answers: ok(schemas.whoami, "The caller"),
    handle: ({ caller }) => {
      const { tenantId, scopes, expiresAt, name } = caller;
      const by =
        caller.kind === "token"
          ? { token_id: caller.tokenId, issuer: null, subject: null }
          : { token_id: null, issuer: caller.issuer, subject: caller.subject };
      const told = { tenant_id: tenantId, name, ...by, scopes, expires_at: expiresAt };
      return Promise.resolve(json(told));
    },
  }),
  defineRoute({
    id: "listSkills",
    method: "GET",
    path: "/v1/skills",
    summary: "The skills that steps of a plan use",
    scope: "skills:read",
    answers: ok(schemas.skills, "Every skill, with the JSON Schemas of its input and output"),
    handle: async ({ services, caller }) => {
      const { skills, own } = await services.listSkills(caller.tenantId);
      return json({ skills, own: own.map(ownSkillOf) });
    },
  }),
  defineRoute({
    id: "submitRun",
    method: "POST",
    path: "/v1/runs",
    summary: "Submit a goal",
    scope: "runs:write",
    isHeavy: true,
    headers: schemas.submitHeaders,
    body: schemas.submission,
    answers: {
      202: { text: "The run is durable, and is worked on", schema: schemas.begun },
      200: { text: "The run that was submitted under the same key", schema: schemas.begun },
    },
    isSlow: true,
    handle: async ({ services, caller, headers, body }) => {
      const { runId, isNew } = await services.submitGoal(caller, {
        ...goalOf(body),
        idempotencyKey: headers["idempotency-key"] ?? null,
      });
      return json({ run_id: runId, is_new: isNew }, isNew ? 202 : 200);
    },
  }),
  defineRoute({
    id: "listRuns",
    method: "GET",
    path: "/v1/runs",
    summary: "List runs of every kind, newest first",
    scope: "runs:read",
    query: schemas.listQuery,
    answers: ok(schemas.runPage, "A page"),
    handle: async ({ services, caller, query }) => {
      const { limit, status = null, kind = null, after = null } = query;
      const page = { limit: limit + 1, status, kind, after };
      const rows = await services.listRuns(caller.tenantId, page);
      const shown = rows.slice(0, limit);
      const next = rows.length > limit ? (shown.at(-1)?.runId ?? null) : null;
      return json({ runs: shown.map(viewOf), next });
    },
  }),
  defineRoute({
    id: "showRun",
    method: "GET",
    path: "/v1/runs/{run}",
    summary: "Show a run",
    scope: "runs:read",
    params: schemas.runParams,
    answers: ok(schemas.runDetails, "The run"),
    handle: async ({ services, caller, params }) =>
      json(await detailsOf(services, caller.tenantId, params.run)),
  }),
  defineRoute({
    id: "resumeRun",
    method: "POST",
    path: "/v1/runs/{run}/resume",
    summary: "Go on with a goal that waits",
    scope: "runs:write",
    isHeavy: true,
    params: schemas.runParams,
    answers: { 202: { text: "It is worked on", schema: schemas.begun } },
    handle: async ({ services, caller, params }) => {
      const { runId } = await services.resumeRun(caller, params.run);
      return json({ run_id: runId, is_new: false }, 202);
    },
  }),
  defineRoute({
    id: "retryRun",
    method: "POST",
    path: "/v1/runs/{run}/retry",
    summary:
      "Go on with a goal that waits, and do a step anew of which nobody knows if it was done",
    scope: "runs:write",
    isHeavy: true,
    params: schemas.runParams,
    answers: { 202: { text: "It is worked on", schema: schemas.begun } },
    handle: async ({ services, caller, params }) => {
      const { runId } = await services.retryRun(caller, params.run);
      return json({ run_id: runId, is_new: false }, 202);
    },
  }),
  defineRoute({
    id: "cancelRun",
    method: "POST",
    path: "/v1/runs/{run}/cancel",
    summary: "End a goal that has not ended; answered once it has",
    scope: "runs:write",
    isHeavy: true,
    params: schemas.runParams,
    body: schemas.cancellation,
    answers: ok(schemas.ended, "It has ended"),
    handle: async ({ services, caller, params, body }) => {
      const { runId, status, reason } = await services.cancelRun(caller, params.run, body.reason);
      return json({ run_id: runId, status, reason });
    },
  }),
  defineRoute({
    id: "traceRun",
    method: "GET",
    path: "/v1/runs/{run}/trace",
    summary: "The steps of a run, as the ledger says them",
    scope: "runs:read",
    params: schemas.runParams,
    answers: ok(schemas.trace, "The trace"),
    handle: async ({ services, caller, params }) =>
      json(await services.traceRun(caller.tenantId, params.run)),
  }),
  defineRoute({
    id: "followRun",
    method: "GET",
    path: "/v1/runs/{run}/events",
    summary: "The run's ledger entries, as server-sent events, until it ends",
    scope: "runs:read",
    params: schemas.runParams,
    headers: schemas.eventHeaders,
    answers: {
      200: {
        text: "Each event has the entry's type, its sequence as id, and the entry as data",
        schema: null,
        type: "text/event-stream",
      },
      204: { text: "The run has ended, and nothing follows the last event", schema: null },
    },
    handle: ({ services, caller, params, headers, signal }) => {
      const last = headers["last-event-id"];
      const from = last === undefined ? 0 : Number(last) + 1;
      return followEvents(services, caller, { runId: params.run, from }, signal);
    },
  }),
  defineRoute({
    id: "proveRun",
    method: "GET",
    path: "/v1/runs/{run}/proof",
    summary: "Judge a run's evidence anew, and compare every row with it",
    scope: "evidence:read",
    isHeavy: true,
    params: schemas.runParams,
    answers: ok(schemas.proof, "What it comes to"),
    handle: async ({ services, caller, params }) =>
      json(await services.proveRun(caller.tenantId, params.run)),
  }),
  defineRoute({
    id: "exportBundle",
    method: "GET",
    path: "/v1/runs/{run}/bundle",
    summary: "The evidence of a run that has ended, for sovereign-verify",
    scope: "evidence:read",
    isHeavy: true,
    params: schemas.runParams,
    answers: ok(schemas.document, "A compliance bundle"),
    handle: async ({ services, caller, params }) => ({
      status: 200,
      bytes: await services.exportBundle(caller.tenantId, params.run),
      type: "application/json",
      file: "compliance_bundle.json",
    }),
  }),
  defineRoute({
    id: "listArtifacts",
    method: "GET",
    path: "/v1/runs/{run}/artifacts",
    summary: "The files that a run recorded",
    scope: "evidence:read",
    params: schemas.runParams,
    answers: ok(schemas.artifacts, "Name, digest, size and media type of each"),
    handle: async ({ services, caller, params }) =>
      json({ artifacts: await services.listArtifacts(caller.tenantId, params.run) }),
  }),
  defineRoute({
    id: "readArtifact",
    method: "GET",
    path: "/v1/runs/{run}/artifacts/{sha256}",
    summary: "One of these files",
    scope: "evidence:read",
    params: schemas.artifactParams,
    answers: {
      200: {
        text: "Its bytes, which are untrusted",
        schema: null,
        type: "application/octet-stream",
      },
    },
    handle: async ({ services, caller, params }) => ({
      status: 200,
      bytes: await services.readArtifact(caller.tenantId, params.run, params.sha256),
      type: "application/octet-stream",
      file: params.sha256,
    }),
  }),
  ...STATE_ROUTES,
  defineRoute({
    id: "getTrustRoot",
    method: "GET",
    path: "/v1/trust-root",
    summary: "The installation's public keys. An auditor should have them by another way, too",
    scope: "evidence:read",
    answers: ok(schemas.document, "A trust root"),
    handle: async ({ services }) => ({
      status: 200,
      bytes: canonicalBytes(await services.trustRoot()),
      type: "application/json",
      file: "trust-root.json",
    }),
  }),
];

function goalOf(body: z.output<typeof schemas.submission>): Omit<SubmittedGoal, "idempotencyKey"> {
  const { goal, agent_id, origin_system_id, plan, planner_model: model, inputs, priority } = body;
  const [vendor = "", ...rest] = model?.split("/") ?? [];
  return {
    ...{ goal, inputs, priority },
    agentId: agent_id,
    originSystemId: origin_system_id,
    plan: plan ?? null,
    plannerModel: model === undefined ? null : { vendor, model: rest.join("/") },
    limits: limitsOf(body.budget ?? {}),
  };
}

/** As the tenant's people are told; how it is started is the operator's. */
function ownSkillOf(skill: OwnSkillReport): z.input<typeof schemas.ownSkill> {
  const { name, version, text, digest, host, input, output } = skill;
  return { name, version, text, digest, host, input, output };
}

function viewOf(row: RunRow): z.input<typeof schemas.runView> {
  const { runId, kind, name, status, reason, mode, planDigest, createdAt, updatedAt } = row;
  const times = { created_at: createdAt, updated_at: updatedAt };
  return { run_id: runId, kind, name, status, reason, mode, plan_digest: planDigest, ...times };
}

async function detailsOf(services: ApiServices, tenantId: string, run: string): Promise<object> {
  const found = await services.showRun(tenantId, run);
  const { runId, kind, name, status, reason, mode, createdAt, updatedAt, steps, published } = found;
  const times = { created_at: createdAt, updated_at: updatedAt };
  const about = { run_id: runId, kind, name, status, reason, mode, ...times };
  return { ...about, published, steps };
}

/** A path that there is, with another method. @returns what it takes */
export function methodsOf(path: string): string[] {
  return ROUTES.filter((route) => patternOf(route).test(path)).map(({ method }) => method);
}

function patternOf({ path }: Route): RegExp {
  return new RegExp(`^${path.replaceAll(/\{[^{}]+\}/g, "[^/]+")}$`);
}

/** @throws ERR_HTTP_NOT_FOUND, ERR_HTTP_METHOD */
export function refusePath(url: string): never {
  const [path = ""] = url.split("?");
  const methods = methodsOf(path);
  if (methods.length === 0)
    throw new SovereignError(
      "ERR_HTTP_NOT_FOUND",
      "There is nothing at this path. See /openapi.json.",
    );
  throw new SovereignError("ERR_HTTP_METHOD", `Expected ${methods.join(" or ")}.`);
}
