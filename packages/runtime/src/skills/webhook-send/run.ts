import { type HostCall, type HostEnd, SkillFailure } from "../inside/call.ts";

export interface WebhookInput {
  readonly url: string;
  readonly payload: unknown;
  readonly secret: string;
  readonly event_id?: string | undefined;
}

/** The identifier is the same for every attempt: who receives it does the work once. */
export async function runWebhookSend(
  { url, payload, secret, event_id }: WebhookInput,
  call: HostCall,
): Promise<HostEnd> {
  const id = event_id ?? `msg_${call.idempotencyKey}`;
  const { status } = await call.http({
    url,
    method: "POST",
    headers: { "content-type": "application/json", "user-agent": "sovereign" },
    webhook: { id, secret },
    body: Buffer.from(JSON.stringify(payload)),
    isUnsafe: false,
  });
  if (status >= 200 && status <= 299) return { value: { status, webhook_id: id } };
  const why = status === 410 ? ": the endpoint is gone, and wants no more" : "";
  throw new SkillFailure(`${new URL(url).host} answered ${status}${why}`);
}
