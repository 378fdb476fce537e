import { calcPrice } from "@pydantic/genai-prices";
import type { ModelUsage } from "@sovereign/core";

/** The version of the table, which stands in each record. A test holds it to the package's. */
export const PRICES_VERSION = "0.1.8";
const MICRO = 1_000_000;

/** Prices for a vendor's models that its file names: millionths of a dollar for a million tokens. */
export interface OwnPrice {
  readonly input: number;
  readonly output: number;
}

/** Whose model it is. */
export interface PricedModel {
  /** The table's name of the vendor; null to look for the model alone. */
  readonly provider: string | null;
  readonly model: string;
  /** What counts before any table. */
  readonly own: OwnPrice | null;
  readonly at: Date;
}

export interface Price {
  readonly microusd: number;
  readonly source: string;
}

/** What such usage costs, rounded up to a millionth of a dollar; null where nobody knows. */
export function priceOf(priced: PricedModel, usage: ModelUsage): Price | null {
  const { own, provider, model, at } = priced;
  if (own !== null) {
    const exact = (usage.input * own.input + usage.output * own.output) / MICRO;
    return { microusd: Math.ceil(exact), source: `set for the vendor: ${model}` };
  }
  try {
    const found = calcPrice(tableUsage(usage), model, {
      timestamp: at,
      ...(provider === null ? {} : { providerId: provider }),
    });
    if (found === null || !isAmount(found.total_price)) return null;
    const source = `genai-prices ${PRICES_VERSION} ${found.provider.id}/${found.model.id}`;
    return { microusd: roundUp(found.total_price), source };
  } catch {
    // The table refuses what it has no rule for: then there is no price.
    return null;
  }
}

/**
 * The most that a call can cost: each token of the request at its dearest, and as much of an answer
 * as was asked for.
 */
export function worstPrice(
  priced: PricedModel,
  input: number,
  output: number,
  cachesForAnHour: boolean,
): Price | null {
  const plain = { input, cache_read: 0, cache_write: 0, cache_write_1h: 0, output, reasoning: 0 };
  const written = { ...plain, cache_write: input };
  const asked = [
    plain,
    written,
    ...(cachesForAnHour ? [{ ...written, cache_write_1h: input }] : []),
  ];
  const prices = asked.map((usage) => priceOf(priced, usage));
  const [first] = prices;
  if (first === null || first === undefined) return null;
  // A model without a price for the cache costs what the plain tokens do.
  const dearest = prices.reduce((most, one) => Math.max(most, one?.microusd ?? 0), 0);
  return { microusd: dearest, source: first.source };
}

function tableUsage(usage: ModelUsage): Record<string, number> {
  return {
    input_tokens: usage.input,
    cache_read_tokens: usage.cache_read,
    cache_write_tokens: usage.cache_write,
    ...(usage.cache_write_1h === 0 ? {} : { cache_write_1h_tokens: usage.cache_write_1h }),
    output_tokens: usage.output,
  };
}

function isAmount(price: number): boolean {
  return Number.isFinite(price) && price >= 0 && price * MICRO <= Number.MAX_SAFE_INTEGER;
}

/** Up, but not for what only the arithmetic added. */
function roundUp(dollars: number): number {
  return Math.ceil(Number((dollars * MICRO).toFixed(6)));
}
