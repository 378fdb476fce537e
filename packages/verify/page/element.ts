/** What may stand in an element: text, which is never read as markup, or elements. */
type Content = string | Node | readonly (string | Node)[];

/**
 * Make an element. There is no way here from text to markup: what the evidence says stays text.
 *
 * @param name with classes, such as `p.failure`
 */
export function element(name: string, content: Content = []): HTMLElement {
  const [tag = "div", ...classes] = name.split(".");
  const made = document.createElement(tag);
  for (const one of classes) made.classList.add(one);
  if (typeof content === "string" || content instanceof Node) made.append(content);
  else for (const one of content) made.append(one);
  return made;
}

/** @throws Error when the page has no such element: it is ours, so that is a mistake of ours */
export function find<T extends HTMLElement>(document: Document, id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (found instanceof kind) return found;
  throw new Error(`no ${id} in the page`);
}
