import { defineRoute, json, ok, type Route } from "./route.ts";
import * as schemas from "./schemas.ts";

/** What stands between a tenant and its work: incidents, budgets, circuit breakers. */
export const STATE_ROUTES: readonly Route[] = [
  defineRoute({
    id: "listIncidents",
    method: "GET",
    path: "/v1/incidents",
    summary: "What a person has to look at, the last one first",
    scope: "incidents:read",
    query: schemas.incidentQuery,
    answers: ok(schemas.incidents, "The incidents"),
    handle: async ({ services, caller, query }) => {
      const { limit, state = null, kind = null } = query;
      const found = await services.listIncidents(caller.tenantId, { limit, state, kind });
      return json({ incidents: found });
    },
  }),
  defineRoute({
    id: "showIncident",
    method: "GET",
    path: "/v1/incidents/{incident}",
    summary: "An incident, and the entries of the ledger that speak of it",
    scope: "incidents:read",
    params: schemas.incidentParams,
    answers: ok(schemas.incidentDetails, "The incident"),
    handle: async ({ services, caller, params }) =>
      json(await services.showIncident(caller.tenantId, params.incident)),
  }),
  defineRoute({
    id: "acknowledgeIncident",
    method: "POST",
    path: "/v1/incidents/{incident}/acknowledge",
    summary: "Say that somebody looks at an incident",
    scope: "incidents:write",
    params: schemas.incidentParams,
    answers: ok(schemas.incident, "The incident, acknowledged by the token"),
    handle: async ({ services, caller, params }) =>
      json(await services.acknowledgeIncident(caller, params.incident)),
  }),
  defineRoute({
    id: "resolveIncident",
    method: "POST",
    path: "/v1/incidents/{incident}/resolve",
    summary: "Say that an incident is done with; it opens again when it happens again",
    scope: "incidents:write",
    params: schemas.incidentParams,
    body: schemas.resolution,
    answers: ok(schemas.incident, "The incident, resolved by the token"),
    handle: async ({ services, caller, params, body }) =>
      json(await services.resolveIncident(caller, params.incident, body.note)),
  }),
  defineRoute({
    id: "showBudgets",
    method: "GET",
    path: "/v1/budgets",
    summary: "Budgets of the tenant and its agents, with what is held and was used",
    scope: "budgets:read",
    query: schemas.budgetQuery,
    answers: ok(schemas.budgets, "The budgets of the present periods"),
    handle: async ({ services, caller, query }) =>
      json({ budgets: await services.showBudgets(caller.tenantId, query.run ?? null) }),
  }),
  defineRoute({
    id: "listBreakers",
    method: "GET",
    path: "/v1/breakers",
    summary: "Which hosts are left alone because calls to them failed again and again",
    scope: "runs:read",
    answers: ok(schemas.breakers, "The circuit breakers"),
    handle: async ({ services, caller }) =>
      json({ breakers: await services.listBreakers(caller.tenantId) }),
  }),
];
