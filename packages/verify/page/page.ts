import type { VerificationReport } from "@sovereign/core";
import { printable } from "../src/printable.ts";
import { VERIFIER } from "../src/verify-bundle.ts";
import { element, find } from "./element.ts";
import { renderReport } from "./report-view.ts";
import { Slot } from "./slot.ts";
import { Verification } from "./verification.ts";
import type { Answer } from "./worker.ts";

/** @param script the text of the page's own script, for the worker */
export function startPage(document: Document, script: string): void {
  new Page(document, new Verification(script));
}

/** The form, what is going on, and the report; a verdict never stands beside other files. */
class Page {
  readonly #verification: Verification;
  readonly #bundle: Slot;
  readonly #trust: Slot;
  readonly #level: HTMLSelectElement;
  readonly #submit: HTMLButtonElement;
  readonly #cancel: HTMLButtonElement;
  readonly #status: HTMLElement;
  readonly #result: HTMLElement;
  #download = "";
  /** Grows with every reset: what began before belongs to other files. */
  #turn = 0;

  constructor(document: Document, verification: Verification) {
    this.#verification = verification;
    this.#level = find(document, "level", HTMLSelectElement);
    this.#submit = find(document, "verify", HTMLButtonElement);
    this.#cancel = find(document, "cancel", HTMLButtonElement);
    this.#status = find(document, "status", HTMLElement);
    this.#result = find(document, "result", HTMLElement);
    const reset = (): void => {
      this.#reset();
    };
    this.#bundle = new Slot(document, "bundle", reset);
    this.#trust = new Slot(document, "trust", reset);
    this.#level.addEventListener("change", reset);
    this.#cancel.addEventListener("click", reset);
    find(document, "form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#verify();
    });
    // A file dropped beside the slots would otherwise replace the page.
    for (const type of ["dragover", "drop"] as const) {
      document.addEventListener(type, (event) => {
        event.preventDefault();
      });
    }
    const { name, version } = VERIFIER;
    find(document, "version", HTMLElement).textContent = `${name} ${version}`;
    this.#reset();
  }

  #reset(): void {
    this.#turn += 1;
    this.#verification.cancel();
    this.#cancel.hidden = true;
    this.#result.hidden = true;
    this.#result.replaceChildren();
    URL.revokeObjectURL(this.#download);
    this.#say("");
    this.#submit.disabled = this.#bundle.file === null;
  }

  async #verify(): Promise<void> {
    this.#reset();
    this.#say("Verifying…");
    this.#submit.disabled = true;
    this.#cancel.hidden = false;
    const started = performance.now();
    const answer = await this.#answer();
    if (answer === null) return;
    this.#submit.disabled = false;
    this.#cancel.hidden = true;
    if ("problem" in answer) {
      const { code, message } = answer.problem;
      this.#say(`${printable(message)} (${code})`, true);
      return;
    }
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    this.#show(answer.report, `Verdict ${answer.report.verdict}, after ${seconds} s.`);
  }

  /** @returns null when it was cancelled, by the button or by a change of the files */
  async #answer(): Promise<Answer | null> {
    const turn = this.#turn;
    const level = this.#level.value === "compatible" ? "compatible" : "sovereign";
    try {
      const files = [this.#bundle.read(), this.#trust.read()] as const;
      const [bundle, trustRoot] = await Promise.all(files);
      if (bundle === null || turn !== this.#turn) return null;
      return await this.#verification.run({ bundle, trustRoot, level });
    } catch (error) {
      if (turn !== this.#turn) return null;
      const message = error instanceof Error ? error.message : "unknown failure";
      return { problem: { code: "ERR_FILE_UNREADABLE", message } };
    }
  }

  #show(report: VerificationReport, status: string): void {
    this.#result.replaceChildren();
    for (const part of renderReport(report)) this.#result.append(part);
    this.#result.append(this.#downloadOf(report));
    this.#result.hidden = false;
    this.#say(status);
    find(document, "verdict", HTMLElement).focus();
  }

  /** The same bytes as `sovereign-verify --output` writes. */
  #downloadOf(report: VerificationReport): HTMLElement {
    const text = `${JSON.stringify(report, null, 2)}\n`;
    this.#download = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    const button = element("button", "Download report (JSON)") as HTMLButtonElement;
    button.type = "button";
    button.id = "download";
    button.addEventListener("click", () => {
      const link = element("a") as HTMLAnchorElement;
      link.href = this.#download;
      link.download = "verification_report.json";
      link.click();
    });
    return element("p.download", button);
  }

  #say(text: string, problem = false): void {
    this.#status.classList.toggle("problem", problem);
    this.#status.textContent = text;
  }
}
