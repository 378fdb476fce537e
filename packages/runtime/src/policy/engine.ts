import {
  type Action,
  type ActionContext,
  canonicalize,
  CI_FILES_RULE,
  cutText,
  digestOf,
  frozenCopy,
  isCiFile,
  isSovereignError,
  POLICY_DIALECT,
  type PolicyDecision,
  policyFace,
  quoted,
  fixClass,
} from "@sovereign/core";
import { askCedar, cedarText } from "./cedar.ts";
import { type CompiledPolicy, isFileType, ownPolicy, type Pattern } from "./compile.ts";
import { parseStepUp, strictestDemand } from "./demand.ts";
import { matchesGlob } from "./glob.ts";
import { matchesHost, parseHost } from "./hosts.ts";
import { refuseTooMuchWork } from "./match-work.ts";
import { deniesPath } from "./path-patterns.ts";
import { nearMiss } from "./near-miss.ts";
import { resolvePath } from "./paths.ts";
import { Recent } from "./recent.ts";
import { resourcesOf } from "./resources.ts";

const CACHE_MAX = 10_000;
/** What a decision names of what decided: it stands in a ledger entry beside its action. */
const RULES_MAX = 32;
const REASONS_MAX = 8;

/** A decision with everything that led to it, for people who ask why. */
export interface Explanation {
  readonly decision: PolicyDecision;
  readonly matched: readonly string[];
  /** The text of each rule that decided. */
  readonly rules: Readonly<Record<string, string>>;
}

/**
 * Decides under one policy. Pure: the same request always gets the same answer, so answers are
 * kept by the text of the request.
 */
export class PolicyEngine {
  readonly #policy: CompiledPolicy;
  readonly #cache = new Recent<PolicyDecision>(CACHE_MAX);

  /** @throws ERR_POLICY_INVALID where the policy is not the one that its digest names */
  constructor(policy: CompiledPolicy) {
    this.#policy = ownPolicy(policy);
    Object.freeze(this);
  }

  /** Whoever gets it cannot change it. */
  get policy(): CompiledPolicy {
    return this.#policy;
  }

  get policyDigest(): string {
    return this.#policy.digest;
  }

  decide(asked: Action, context: ActionContext): PolicyDecision {
    // A copy, whose canonical form is made once; what the kernel and the authority hold is one already.
    const action = frozenCopy(asked) as Action;
    const request = requestText(action, context);
    const known = this.#cache.get(request);
    if (known !== undefined) return known;
    const { tenant_id, role, mode } = context;
    const digest = digestOf({ action: action, tenant_id, role, mode });
    // Whoever gets the answer gets the one that is kept: nobody can change it.
    const decision = frozenCopy(this.#decide(action, context, digest)) as PolicyDecision;
    this.#cache.set(request, decision);
    return decision;
  }

  explain(action: Action, context: ActionContext): Explanation {
    const decision = this.decide(action, context);
    const texts = decision.rules.flatMap((id) => {
      const rule = this.#policy.rules[id];
      return rule === undefined ? [] : [[id, cedarText(rule)] as const];
    });
    let matched: string[] = [];
    try {
      const places = this.#placesOf(action, ciFilesOf(action));
      matched = [...new Set(places.flatMap((one) => one.matched))];
    } catch (error) {
      if (!isSovereignError(error)) throw error;
    }
    return { decision, matched, rules: Object.fromEntries(texts) };
  }

  #decide(action: Action, context: ActionContext, digest: string): PolicyDecision {
    let places: Place[];
    let ci: CiLeave;
    try {
      const ciFiles = ciFilesOf(action);
      places = this.#placesOf(action, ciFiles);
      ci = this.#ciLeave(ciFiles);
    } catch (error) {
      if (!isSovereignError(error)) throw error;
      // Not even observed: a path that tricks is refused in every mode.
      return this.#answer(digest, "deny", [], [error.message], null, false);
    }
    // Nor is this observed: what other machines run is run outside of every sandbox.
    if (ci.refused !== null) {
      const path = ci.refused;
      const why = `${quoted(path)} is a file that tools or hosts run: allowlist.host_run_paths does not name it (nor allowlist.ci_paths)`;
      const denies = this.#policy.patterns.find(
        ({ kind, glob }) => kind === "deny" && deniesPath(glob, path),
      );
      const more = denies === undefined ? [] : [`deny_paths has ${quoted(denies.glob)}, too`];
      return this.#answer(digest, "deny", [CI_FILES_RULE], [why, ...more], null, false);
    }
    const { allow, rules, errors } = this.#ask(places, action.type, context);
    // Nobody knows what policy says where a rule cannot be evaluated: no mode lets that through.
    if (errors.length > 0) {
      const why = ["a rule could not be evaluated", ...errors];
      return this.#answer(digest, "deny", [], why, null, false);
    }
    if (!allow) {
      const denial = this.#deny(action, digest, rules);
      return denial.observed ? { ...denial, rules: [...ci.by, ...denial.rules] } : denial;
    }
    let approvals: PolicyDecision["approvals"];
    try {
      approvals = this.#approvals(rules);
    } catch (error) {
      if (!isSovereignError(error)) throw error;
      return this.#answer(digest, "deny", rules, [error.message], null, false);
    }
    const effect = approvals === null ? "allow" : "step_up";
    return this.#answer(digest, effect, [...ci.by, ...rules], [], approvals, false);
  }

  /** What Cedar says of all places together: each must be allowed, and the first denial is told. */
  #ask(
    places: readonly Place[],
    type: string,
    context: ActionContext,
  ): ReturnType<typeof askCedar> {
    const { role, tenant_id: tenant, mode } = context;
    const rules = new Set<string>();
    for (const { resource, matched } of places) {
      const asked = { role, resource, type, tenant, mode, matched };
      const answer = askCedar(this.#policy.digest, asked);
      if (!answer.allow || answer.errors.length > 0) return answer;
      for (const rule of answer.rules) rules.add(rule);
    }
    return { allow: true, rules: [...rules], errors: [] };
  }

  /** What the policy says to each file that others run and that an action changes. */
  #ciLeave(ciFiles: readonly string[]): CiLeave {
    const by = new Set<string>();
    const leaves = this.#policy.patterns.filter((one) => one.kind === "ci");
    for (const path of ciFiles) {
      const leave = leaves.find((one) => matchesGlob(one.glob, path));
      if (leave === undefined) return { refused: path, by: [] };
      by.add(leave.name);
    }
    return { refused: null, by: [...by] };
  }

  #deny(action: Action, digest: string, rules: readonly string[]): PolicyDecision {
    const why =
      rules.length > 0
        ? `forbidden by ${rules.join(", ")}`
        : `no rule allows ${action.type} on ${cutText(action.resource, 200)}`;
    const near = rules.length > 0 ? null : this.#nearMiss(action);
    const reasons = near === null ? [why] : [why, near];
    const observed = this.#policy.mode === "observe";
    return this.#answer(digest, observed ? "allow" : "deny", rules, reasons, null, observed);
  }

  /** A policy in Cedar has no patterns: of its rules none is nearer than another. */
  #nearMiss(action: Action): string | null {
    if (this.#policy.limits === null) return null;
    const isPath = policyFace(action.type).matches === "path";
    return nearMiss(action, this.#policy.patterns, isPath ? resolvePath(action.resource) : null);
  }

  #answer(
    requestDigest: string,
    effect: PolicyDecision["effect"],
    rules: readonly string[],
    reasons: readonly string[],
    approvals: PolicyDecision["approvals"],
    observed: boolean,
  ): PolicyDecision {
    return {
      effect,
      rules: rules.slice(0, RULES_MAX),
      reasons: reasons.slice(0, REASONS_MAX).map((reason) => cutText(reason, 500)),
      approvals,
      policy_digest: this.#policy.digest,
      request_digest: requestDigest,
      observed,
      dialect: POLICY_DIALECT,
    };
  }

  /** The strictest demand of the rules that allow: an easier rule beside it does not lower it. */
  #approvals(rules: readonly string[]): PolicyDecision["approvals"] {
    return strictestDemand(
      rules.flatMap((id) => {
        const text = this.#policy.rules[id]?.annotations?.["step_up"];
        return text === undefined ? [] : [parseStepUp(id, text)];
      }),
    );
  }

  /** @throws ERR_PATH_REFUSED, ERR_MATCH_LIMIT */
  #placesOf(action: Action, ciFiles: readonly string[]): Place[] {
    const texts = resourcesOf(action).map((resource) => ({
      resource,
      path: isFileType(action.type) ? resolvePath(resource) : null,
    }));
    const paths = texts.flatMap(({ path }) => (path === null ? [] : [path]));
    refuseTooMuchWork(this.#policy.patterns, { action, paths, ciFiles });
    // A policy in Cedar has no patterns: its rules may speak of hosts in another form.
    const isHost = policyFace(action.type).matches === "host" && this.#policy.limits !== null;
    const host = isHost ? parseHost(action.resource) : null;
    return texts.map(({ resource, path }) => ({
      resource,
      matched: this.#policy.patterns
        .filter((pattern) => matchesPattern(pattern, action, path, host))
        .map((pattern) => pattern.name),
    }));
  }
}

fixClass(PolicyEngine);

/** One thing that an action acts on, and the patterns that match it. */
interface Place {
  readonly resource: string;
  readonly matched: readonly string[];
}

/** The first file without leave, or the patterns that give leave to each. */
interface CiLeave {
  readonly refused: string | null;
  readonly by: readonly string[];
}

/**
 * Files that others run and that an action changes: an operation's own path, or those that a commit
 * names.
 * @throws ERR_PATH_REFUSED
 */
function ciFilesOf(action: Action): string[] {
  const { matches, readsOnly, hostRunFiles } = policyFace(action.type);
  if (matches === "path") {
    const paths = resourcesOf(action).map(resolvePath);
    return readsOnly === true ? [] : paths.filter(isCiFile);
  }
  const named = hostRunFiles === undefined ? [] : (action.params[hostRunFiles] ?? []);
  return Array.isArray(named)
    ? named.map((path) => (typeof path === "string" ? resolvePath(path) : ""))
    : [""];
}

/**
 * One text for each request. It is not what the digest is over, because it is made for every
 * decision: lengths keep the parts apart at a smaller cost than their names and quotes.
 */
function requestText(action: Action, { tenant_id, role, mode }: ActionContext): string {
  const who = `${tenant_id.length}:${tenant_id}${role.length}:${role}${mode.length}:${mode}`;
  return who + canonicalize(action);
}

function matchesPattern(
  pattern: Pattern,
  action: Action,
  path: string | null,
  host: ReturnType<typeof parseHost> | null,
): boolean {
  switch (pattern.kind) {
    case "path":
    case "ci":
      return path !== null && matchesGlob(pattern.glob, path);
    case "deny":
      return path !== null && deniesPath(pattern.glob, path);
    case "host":
      return matchesOwnHost(pattern, action, host);
    case "resource":
      return action.type === pattern.args[0] && matchesGlob(pattern.glob, action.resource);
    case "command":
      return policyFace(action.type).matches === "command" && matchesCommand(pattern, action);
  }
}

/** A pattern of `hosts` counts for every type that names a host; one of `network.hosts` for its own. */
function matchesOwnHost(
  { glob, args: [type] }: Pattern,
  action: Action,
  host: ReturnType<typeof parseHost> | null,
): boolean {
  const meant = type === undefined ? action.type !== "network.connect" : type === action.type;
  return host !== null && meant && matchesHost(glob, host);
}

/** The whole command: the executable exactly, and every argument by one of the patterns. */
function matchesCommand(pattern: Pattern, action: Action): boolean {
  const argv = action.params["argv"];
  if (action.resource !== pattern.glob || !Array.isArray(argv)) return false;
  return argv.every(
    (word) => typeof word === "string" && pattern.args.some((glob) => matchesGlob(glob, word)),
  );
}
