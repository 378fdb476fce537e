import { closeSync, openSync, writeSync } from "node:fs";

const KEEP_ALIVE_MS = 1000;

/**
 * Holds a hardware watchdog, where one is there and asked for: a sentinel that hangs then has the
 * machine rebooted. Its absence is recorded and nothing more.
 */
export class Watchdog {
  #file: number | null = null;
  #timer: NodeJS.Timeout | undefined;

  /** @param device such as /dev/watchdog; null for none */
  constructor(device: string | null) {
    if (device === null) return;
    try {
      this.#file = openSync(device, "w");
    } catch {
      return;
    }
    this.#timer = setInterval(() => {
      this.#write("\0");
    }, KEEP_ALIVE_MS);
    this.#write("\0");
  }

  get held(): boolean {
    return this.#file !== null;
  }

  /** Let go, in the way that tells the device not to reboot. */
  close(): void {
    clearInterval(this.#timer);
    this.#write("V");
    if (this.#file !== null) closeSync(this.#file);
    this.#file = null;
  }

  #write(text: string): void {
    if (this.#file === null) return;
    try {
      writeSync(this.#file, text);
    } catch {
      closeSync(this.#file);
      this.#file = null;
      clearInterval(this.#timer);
    }
  }
}
