import type { Verdict, VerificationReport, VerificationStep } from "@sovereign/core";
import { printable } from "../src/printable.ts";
import { STEP_TITLES } from "../src/step-titles.ts";
import { element } from "./element.ts";

const VERDICTS: Readonly<Record<Verdict, { tone: string; sign: string; text: string }>> = {
  VALID: {
    tone: "good",
    sign: "✓",
    text: "The evidence is whole, holds together, and is signed by keys that the trust root knows.",
  },
  UNTRUSTED_KEY: {
    tone: "warn",
    sign: "?",
    text: "The evidence holds together, but it is not by keys that a trust root of yours knows: anybody could have made it.",
  },
  INCOMPLETE: {
    tone: "warn",
    sign: "…",
    text: "Nothing contradicts, but something that should be proved is not there.",
  },
  INVALID: {
    tone: "bad",
    sign: "✕",
    text: "The evidence contradicts itself or the rules. Do not rely on it.",
  },
};

const TONES: Readonly<Record<VerificationStep["status"], string>> = {
  PASS: "good",
  FAIL: "bad",
  INCOMPLETE: "warn",
  UNTRUSTED: "warn",
  NOT_RUN: "quiet",
};

/** A report for people. Everything in it that comes from the evidence is text, made printable. */
export function renderReport(report: VerificationReport): HTMLElement[] {
  return [
    renderVerdict(report),
    element("h2", "What was verified"),
    renderRun(report),
    element("h2", "Five steps"),
    element("ol.steps", report.steps.map(renderStep)),
    element("h2", "Keys that signed"),
    renderAuthorities(report),
    element("h2", "Digests"),
    renderDigests(report),
  ];
}

/** The first failure shown is that of the step which decided. */
function renderVerdict({ verdict, steps, subject }: VerificationReport): HTMLElement {
  const { tone, sign, text } = VERDICTS[verdict];
  const icon = element("span", sign);
  icon.setAttribute("aria-hidden", "true");
  const heading = element("h2", [icon, verdict]);
  heading.id = "verdict";
  heading.tabIndex = -1;
  const decided = steps.find((step) => step.status === DECIDES[verdict]);
  const failure = decided?.first_failure ?? null;
  const first = failure === null || decided === undefined ? [] : [renderFirst(decided, failure)];
  const failed = verdict === "VALID" && subject.run_status !== "completed";
  const meaning = failed ? [element("p", OF_A_FAILURE)] : [];
  return element(`div.verdict.${tone}`, [heading, element("p", text), ...meaning, ...first]);
}

/** A verdict is about the record, and people take it for one about the work. */
const OF_A_FAILURE =
  "The run itself did not succeed: what is whole and signed is the record of that, and not the work.";

const DECIDES: Readonly<Record<Verdict, VerificationStep["status"] | null>> = {
  VALID: null,
  UNTRUSTED_KEY: "UNTRUSTED",
  INCOMPLETE: "INCOMPLETE",
  INVALID: "FAIL",
};

type Failure = NonNullable<VerificationStep["first_failure"]>;

function renderFirst(step: VerificationStep, failure: Failure): HTMLElement {
  const what = step.status === "FAIL" ? "First failure" : "First finding";
  const title = element("strong", `${what}, in “${STEP_TITLES[step.name]}”: `);
  return element("p.failure", [title, ...failureText(failure)]);
}

function failureText({ place, message, code }: Failure): (string | Node)[] {
  return [element("code", printable(place)), `: ${printable(message)} `, element("code", code)];
}

function renderStep(step: VerificationStep): HTMLElement {
  const { name, status, checked, passed, details, first_failure: failure } = step;
  const counts = [`${passed} of ${checked} checks passed`];
  for (const [what, count] of Object.entries(details)) {
    counts.push(`${printable(what).replaceAll("_", " ")}: ${printable(String(count))}`);
  }
  return element("li", [
    element("h3", STEP_TITLES[name]),
    element(`span.badge.${TONES[status]}`, status.replace("_", " ")),
    element("p", counts.join(" · ")),
    ...(failure === null ? [] : [element("p.failure", failureText(failure))]),
  ]);
}

function renderRun({ subject, level }: VerificationReport): HTMLElement {
  return renderPairs([
    ["Run", subject.run_id],
    ["Status", subject.run_status ?? "not ended"],
    ["Tenant", subject.tenant_id],
    ["Installation", subject.installation_id],
    ["Level", level],
  ]);
}

function renderDigests(report: VerificationReport): HTMLElement {
  return renderPairs([
    ["Bundle (SHA-256)", report.evidence_sha256],
    ["Trust root (SHA-256)", report.trust_root_sha256 ?? "none given"],
    ["Report", report.attestation_id],
  ]);
}

function renderPairs(pairs: readonly (readonly [string, string | null])[]): HTMLElement {
  const parts = pairs.flatMap(([name, value]) => [
    element("dt", name),
    element("dd.mono", element("bdi", printable(value ?? "unknown"))),
  ]);
  return element("dl", parts);
}

function renderAuthorities({ authorities }: VerificationReport): HTMLElement {
  if (authorities.length === 0) return element("p", "None.");
  const heads = ["Purpose", "Role", "Verified", "Key"].map((name) => {
    const head = element(name === "Verified" ? "th.number" : "th", name);
    head.setAttribute("scope", "col");
    return head;
  });
  const rows = authorities.map(({ purpose, role, verified, signatures, key_id }) => {
    const key = element("td.mono", key_id.slice(0, 16));
    key.title = key_id;
    return element("tr", [
      element("td", printable(purpose)),
      element("td", printable(role ?? "")),
      element("td.number", `${verified} of ${signatures}`),
      key,
    ]);
  });
  const table = element("table", [element("thead", element("tr", heads)), element("tbody", rows)]);
  const area = element("div.scroll", table);
  // What scrolls must be within reach of a keyboard, and have a name.
  area.tabIndex = 0;
  area.setAttribute("role", "region");
  area.setAttribute("aria-label", "Keys that signed");
  return area;
}
