import { z } from "zod";

/** A web address that names a host and no user. */
export const plainUrl = z
  .string()
  .max(2000)
  .refine(isPlainUrl, "expected http:// or https://, without a user");

function isPlainUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password, hostname } = new URL(text);
  const isHttp = protocol === "http:" || protocol === "https:";
  return isHttp && username === "" && password === "" && hostname !== "";
}

/** The host of an address as policies name it: with its port, unless that is the port of https. */
export function hostOf(url: string): string {
  const { protocol, hostname, port } = new URL(url);
  const effective = port === "" ? (protocol === "https:" ? "443" : "80") : port;
  return effective === "443" ? hostname : `${hostname}:${effective}`;
}

/** A server that speaks no HTTP: its name and its port, as policies name it. */
export const serverName = z
  .string()
  .max(260)
  .regex(
    /^([a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]{2,45}\]):[1-9]\d{0,4}$/,
    "expected HOST:PORT, such as db.example.org:5432",
  )
  .refine((text) => Number(text.slice(text.lastIndexOf(":") + 1)) < 65_536, "expected a port")
  .refine((text) => !text.endsWith(":443"), "expected another port than that of https");
