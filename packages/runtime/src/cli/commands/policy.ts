import { quoted } from "@sovereign/core";
import type { Command } from "commander";
import type { CaseResult } from "../../policy/index.ts";
import type { TrustReport } from "../../services/index.ts";
import type { CommandContext } from "../context.ts";
import { oneLine } from "../output.ts";

export function policyCommands(program: Command, context: CommandContext): void {
  const { services, output } = context;
  const policy = program.command("policy").description("check, accept and explain policies");

  policy
    .command("check <file>")
    .description("read a policy (.yaml, .json, .cedar), compile and validate it")
    .action(async (file: string) => {
      const compiled = await services.checkPolicy(file);
      const rules = Object.keys(compiled.rules);
      const { digest, mode, warnings } = compiled;
      if (output.json) output.printJson({ digest, mode, rules, warnings });
      else {
        for (const warning of warnings) output.note(oneLine`warning: ${warning}`);
        output.print(
          oneLine`valid: ${rules.length} ${rules.length === 1 ? "rule" : "rules"}, mode ${compiled.mode}`,
        );
        output.print(oneLine`digest: ${compiled.digest}`);
      }
    });

  policy
    .command("trust")
    .description("accept a repository's own policy as it is now; prints what it allows")
    .argument("[place]", "the policy, or a folder in its repository", ".")
    .option("--dry-run", "print what it allows, and accept nothing")
    .action(async (place: string, { dryRun = false }: { dryRun?: boolean }) => {
      const report = await services.trustPolicy(place, { dryRun });
      if (output.json) {
        output.printJson(report);
        return;
      }
      output.print(oneLine`policy: ${quoted(report.policy)}`);
      for (const line of report.allows) output.print(oneLine`  ${line}`);
      output.print(oneLine`sha256: ${report.sha256}`);
      for (const line of changedSince(report)) output.print(oneLine`${line}`);
      output.print(
        report.trusted
          ? "accepted: it applies here until it changes"
          : "accepted: nothing. To accept it leave out --dry-run",
      );
    });

  addExplain(policy, context);
  addTest(policy, context);

  addLearn(program, policy, context);
}

function changedSince({ before, sha256 }: TrustReport): string[] {
  if (before === null) return ["before: you have accepted none at this path"];
  const { at, changes } = before;
  if (before.sha256 === sha256) return [`before: accepted on ${at}, as it is now`];
  if (changes === null) return [`before: another, accepted on ${at}; what it allowed is not known`];
  if (changes.length === 0)
    return [`before: accepted on ${at}, with other words that decide alike`];
  return [`before: accepted on ${at}. What changed since:`, ...changes.map((line) => `  ${line}`)];
}

function addExplain(policy: Command, context: CommandContext): void {
  const { services, output } = context;
  policy
    .command("explain <file>")
    .description("show how a policy decides one action, and by which rules")
    .requiredOption("--action <type>", "the action, such as file.write or model.promote")
    .option("--resource <name>", "what the action acts on", "resource")
    .option("--role <name>", "the role that acts", "agent")
    .option("--params <json>", "the action's parameters", "{}")
    .action(
      async (file: string, flags: Record<"action" | "resource" | "role" | "params", string>) => {
        const { action, resource, role, params } = flags;
        const explanation = await services.explainPolicy(file, action, resource, role, params);
        const { decision, matched, rules } = explanation;
        context.exit = decision.effect === "deny" ? 3 : 0;
        if (output.json) {
          output.printJson(explanation);
          return;
        }
        output.print(
          oneLine`${decision.effect}${decision.observed ? " (observed: would be denied)" : ""}`,
        );
        for (const reason of decision.reasons) output.print(oneLine`  because: ${reason}`);
        if (decision.approvals !== null) {
          const { required, roles } = decision.approvals;
          output.print(oneLine`  needs: ${required} of ${roles.join(", ")}`);
        }
        if (matched.length > 0) output.print(oneLine`  matched: ${matched.join(", ")}`);
        for (const [id, text] of Object.entries(rules)) {
          output.print(`  rule ${id}:\n${text.replaceAll(/^/gm, "    ")}`);
        }
      },
    );
}

function addLearn(program: Command, policy: Command, context: CommandContext): void {
  const { services, output } = context;
  policy
    .command("learn <run>")
    .description(
      "propose rules that would allow what a run was denied, or would have been in observe mode",
    )
    .action(async (runId: string) => {
      const { tenant } = program.opts<{ tenant: string }>();
      const { policy, leftOut, denials } = await services.learnPolicy(tenant, runId);
      if (denials === 0) {
        output.note(
          oneLine`run ${runId}: nothing was denied or would have been, so there is no rule to propose`,
        );
        if (!output.json) return;
      }
      for (const line of leftOut) output.note(oneLine`not proposed: ${line}`);
      output.print(JSON.stringify(policy, null, output.json ? 0 : 2));
    });
}

function addTest(policy: Command, context: CommandContext): void {
  const { services, output } = context;
  policy
    .command("test <table>")
    .description("compare a policy with a table of expected decisions; exit 1 if one differs")
    .option("--policy <file>", "the policy; without it, .sovereign/policy.yaml in the repository")
    .option("--repo <folder>", "a folder in the repository", ".")
    .addHelpText("after", TEST_EXAMPLE)
    .action(async (table: string, flags: { policy?: string; repo: string }) => {
      const wanted = { policy: flags.policy, repository: flags.repo };
      const tested = await services.testPolicy(table, wanted);
      const failed = tested.cases.filter((one) => !one.passed);
      context.exit = failed.length === 0 ? 0 : 1;
      if (output.json) {
        const { policy: file, cases } = tested;
        output.printJson({ policy: file, failed: failed.length, cases });
        return;
      }
      for (const one of failed) output.print(differenceOf(one));
      const count = `${tested.cases.length} ${tested.cases.length === 1 ? "case" : "cases"}`;
      output.print(
        oneLine`${count}, ${failed.length === 0 ? "all as expected" : `${failed.length} differ`}`,
      );
    });
}

function differenceOf({ place, action, resource, expected, found }: CaseResult): string {
  const by = (effect: string, rules: readonly string[]): string =>
    rules.length === 0 ? effect : `${effect} by ${rules.join(", ")}`;
  const wanted = by(expected.effect, expected.rule === null ? [] : [expected.rule]);
  const why = found.reasons.map((reason) => oneLine`\n  because: ${reason}`).join("");
  const what = `${action} on ${quoted(resource)}`;
  return `${place}: ${what}: expected ${wanted}, found ${by(found.effect, found.rules)}${why}`;
}

const TEST_EXAMPLE = `
Example of a table, YAML or JSON:
  cases:
    - { action: file.write, on: src/a.ts, expect: allow }
    - { action: file.write, on: secret/key, expect: deny, rule: "deny:secret/**" }
    - { action: command.run, on: npm, params: { argv: [test] }, expect: allow, rule: command:test }`;
