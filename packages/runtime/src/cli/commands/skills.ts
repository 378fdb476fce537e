import { quoted, SovereignError } from "@sovereign/core";
import type { Command } from "commander";
import type { CommandContext } from "../context.ts";
import { oneLine, table } from "../output.ts";
import type { SkillReport } from "../../services/index.ts";

/** What the steps of a plan can do. */
export function skillsCommands(program: Command, { services, output }: CommandContext): void {
  const list = (): void => {
    // How a plan names a skill of one's own is no skill by itself: `skills own` lists those.
    const skills = services.listSkills().filter(({ name }) => name !== "own");
    if (output.json) {
      for (const { name, version, text, reversible } of skills) {
        output.printJson({ name, version, text, reversible });
      }
      return;
    }
    const rows = skills.map(({ name, version, text }) => [name, version, text]);
    output.print(table([["SKILL", "VERSION", "WHAT IT DOES"], ...rows]));
    output.note(
      oneLine`Found ${skills.length} skills registered; of your own: sovereign skills own`,
    );
  };
  program
    .command("list-skills")
    .description("list the skills that steps of a plan use")
    .action(list);
  const skills = program
    .command("skills")
    .description("list and show the skills of plans; trust skills of your own");
  skills.command("list").description("the same as list-skills").action(list);
  ownCommands(program, skills, { services, output });
  skills
    .command("show <skill>")
    .description("show what a skill takes and what it gives, as JSON Schema")
    .action((name: string) => {
      const found = services.listSkills().find((one) => one.name === name);
      if (found === undefined) throw unknown(name, services.listSkills());
      if (output.json) output.printJson(found);
      else output.print(describe(found));
    });
}

/** Skills of a tenant's own: a folder with a `skill.yaml` and a program. */
function ownCommands(
  program: Command,
  skills: Command,
  { services, output }: Pick<CommandContext, "services" | "output">,
): void {
  const tenantId = (): string => program.opts<{ tenant: string }>().tenant;
  skills
    .command("add <folder>")
    .description("trust a skill of your own as it is now; prints what it may do")
    .option("--dry-run", "print what it may do, and trust nothing")
    .action(async (folder: string, { dryRun = false }: { dryRun?: boolean }) => {
      const found = await services.addSkill({ tenantId: tenantId(), folder, dryRun });
      if (output.json) {
        output.printJson(found);
        return;
      }
      output.print(oneLine`skill: ${found.name} ${found.version}: ${found.text}`);
      output.print(oneLine`  runs: ${found.command.map(quoted).join(" ")}`);
      output.print(oneLine`  reaches: ${found.host ?? "nothing"}`);
      if (found.secrets.length > 0)
        output.print(oneLine`  takes secrets at: ${found.secrets.join(", ")}`);
      for (const file of found.files) output.print(oneLine`  file: ${file}`);
      output.print(oneLine`digest: ${found.digest}`);
      output.print(
        found.trusted
          ? `trusted: plans of ${tenantId()} use it as it is now`
          : "trusted: nothing. To trust it leave out --dry-run",
      );
    });
  skills
    .command("own")
    .description("list the skills of its own that the tenant trusts")
    .action(async () => {
      const found = await services.ownSkills(tenantId());
      if (output.json) {
        output.printJson({ skills: found });
        return;
      }
      if (found.length === 0) {
        output.note("none is trusted. Begin with: sovereign skills add FOLDER");
        return;
      }
      const rows = found.map((one) => [one.name, one.version, one.host ?? "-", one.digest]);
      output.print(table([["SKILL", "VERSION", "REACHES", "DIGEST"], ...rows]));
    });
  skills
    .command("remove <name>")
    .description("trust a skill of your own no more")
    .action(async (name: string) => {
      await services.removeSkill(tenantId(), name);
      if (output.json) output.printJson({ removed: name });
      else output.note(oneLine`${name} is trusted no more.`);
    });
}

function describe({ name, version, text, input, output }: SkillReport): string {
  const schema = (value: object): string => JSON.stringify(value, null, 2);
  const about = [`${name} ${version}`, text];
  return [...about, "", "input:", schema(input), "", "output:", schema(output)].join("\n");
}

function unknown(name: string, skills: readonly SkillReport[]): SovereignError {
  const names = skills.map((one) => one.name).join(", ");
  const text = `There is no skill ${quoted(name)}. Expected one of ${names}.`;
  return new SovereignError("ERR_SKILL_UNKNOWN", text);
}
