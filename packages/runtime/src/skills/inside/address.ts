/** An address below another, which may end in `/`. */
export function addressBelow(base: string, path: string): string {
  let end = base.length;
  while (base.charAt(end - 1) === "/") end -= 1;
  return `${base.slice(0, end)}/${path}`;
}
