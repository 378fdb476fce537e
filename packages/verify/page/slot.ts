import { sha256Hex } from "@sovereign/core";
import { printable } from "../src/printable.ts";
import { find } from "./element.ts";

/** The digest is shown of files up to this size: it is for the trust root, which is small. */
const DIGEST_BYTES_MAX = 16 * 1024 * 1024;

/** A place for one file: chosen in a dialog, or dropped. */
export class Slot {
  readonly #input: HTMLInputElement;
  readonly #area: HTMLElement;
  readonly #note: HTMLElement;
  readonly #onChange: () => void;

  constructor(document: Document, name: string, onChange: () => void) {
    this.#input = find(document, name, HTMLInputElement);
    this.#area = find(document, `${name}-slot`, HTMLElement);
    this.#note = find(document, `${name}-digest`, HTMLElement);
    this.#onChange = onChange;
    this.#input.addEventListener("change", () => {
      this.#changed();
    });
    this.#acceptDrops();
    // A browser may have kept the choice over a reload.
    void this.#describe();
  }

  get file(): File | null {
    return this.#input.files?.[0] ?? null;
  }

  /** @throws DOMException when the file is gone or has changed since it was chosen */
  async read(): Promise<Uint8Array<ArrayBuffer> | null> {
    const { file } = this;
    return file === null ? null : new Uint8Array(await file.arrayBuffer());
  }

  #changed(): void {
    this.#onChange();
    void this.#describe();
  }

  #acceptDrops(): void {
    const over = (event: DragEvent, inside: boolean): void => {
      event.preventDefault();
      this.#area.classList.toggle("over", inside);
    };
    this.#area.addEventListener("dragover", (event) => {
      over(event, true);
    });
    this.#area.addEventListener("dragleave", (event) => {
      over(event, false);
    });
    this.#area.addEventListener("drop", (event) => {
      over(event, false);
      const files = event.dataTransfer?.files;
      if (files?.length !== 1) return;
      this.#input.files = files;
      this.#changed();
    });
  }

  async #describe(): Promise<void> {
    const { file } = this;
    this.#area.classList.toggle("filled", file !== null);
    this.#note.textContent = "";
    if (file === null) return;
    const size = `${printable(file.name)}, ${file.size.toLocaleString("en")} bytes`;
    this.#note.textContent = size;
    if (file.size > DIGEST_BYTES_MAX) return;
    const digest = await file.arrayBuffer().then(
      (bytes) => sha256Hex(new Uint8Array(bytes)),
      () => null,
    );
    if (this.file === file && digest !== null)
      this.#note.textContent = `${size}, SHA-256 ${digest}`;
  }
}
