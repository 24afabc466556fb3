// What the page asks of the browser.
import { $, make } from './form.js';

/** @param {string} name @param {Blob} blob */
export function save(name, blob) {
  const link = make('a', '', { download: name, href: URL.createObjectURL(blob) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** @param {string} text @param {HTMLButtonElement} button */
export async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make('textarea', text);
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
  }
  const label = button.textContent;
  button.textContent = 'Copied';
  setTimeout(() => (button.textContent = label), 1200);
}

/** Bytes that the build has packed into an element. @param {string} name */
export async function unpacked(name) {
  const binary = atob($(name).textContent.trim());
  const packed = Uint8Array.from(binary, (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
