import { request, type RequestOptions } from "node:http";
import { afterEach } from "vitest";
import type { ScramServeEvent, ScramServeInput, DrillRig } from "../../src/services/index.ts";
import { serveScram } from "../../src/services/scram/serve.ts";
import { ENVIRONMENT } from "./scram-rig.ts";

const ending: (() => Promise<void>)[] = [];

/** To be called before the rigs are closed. */
export async function endServers(): Promise<void> {
  for (const end of ending.splice(0)) await end();
}
afterEach(endServers);

export interface Served {
  readonly url: string;
  readonly port: number;
  readonly events: ScramServeEvent[];
  end(): Promise<void>;
}

/** A server of a rig's kill switch, in this process. */
export async function serve(
  one: DrillRig,
  change: Partial<ScramServeInput> = {},
  anchor: () => Promise<void> = () => Promise.resolve(),
): Promise<Served> {
  const controller = new AbortController();
  const events: ScramServeEvent[] = [];
  const [url, ended] = await new Promise<[string, Promise<void>]>((resolve, reject) => {
    const serving: Promise<void> = serveScram(one.home, ENVIRONMENT, anchor, {
      listen: "127.0.0.1:0",
      tlsCert: null,
      tlsKey: null,
      clientCa: null,
      plaintext: false,
      names: [],
      signal: controller.signal,
      onEvent: (event) => {
        events.push(event);
        if (event.event === "listening") resolve([event.url, serving]);
      },
      ...change,
    });
    serving.catch(reject);
  });
  const end = async (): Promise<void> => {
    controller.abort();
    await ended;
  };
  ending.push(end);
  return { url, port: Number(/:(\d+)$/.exec(url)?.[1] ?? 0), events, end };
}

export interface Answered {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: Record<string, unknown>;
}

/** One request. @param body sent as it is when it is text, else as JSON */
export function ask(
  { port }: Pick<Served, "port">,
  path: string,
  body?: unknown,
  change: RequestOptions = {},
): Promise<Answered> {
  const bytes = typeof body === "string" ? body : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: "127.0.0.1",
        port,
        path,
        method: body === undefined ? "GET" : "POST",
        agent: false,
        headers: body === undefined ? {} : { "content-type": "application/json" },
        ...change,
      },
      (response) => {
        let text = "";
        response.on("data", (chunk) => (text += String(chunk)));
        response.on("error", reject);
        response.on("end", () => {
          const { statusCode = 0, headers } = response;
          const json = /json/.test(headers["content-type"] ?? "");
          const found = json ? (JSON.parse(text) as Record<string, unknown>) : {};
          resolve({ status: statusCode, headers, body: found });
        });
      },
    );
    sent.on("error", reject);
    sent.end(body === undefined ? undefined : bytes);
  });
}

export const ORDERS = "/v1/scram/orders";
