// What all pictures need.

/** A colour of style.css. @param {string} name */
export const css = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** @param {HTMLElement} place */
export const size = (place) => ({
  width: Math.max(200, place.clientWidth),
  height: Math.max(120, place.clientHeight),
});

/**
 * A canvas in a place, sharp on every screen.
 * @param {HTMLElement} place
 * @param {string} className
 */
export function pixels(place, className) {
  const canvas = document.createElement('canvas');
  canvas.className = className;
  canvas.setAttribute('role', 'img');
  place.append(canvas);
  return {
    canvas,
    /** Empties it; draws in CSS's pixels. @param {number} width @param {number} height */
    start(width, height) {
      const ratio = devicePixelRatio;
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      const ctx = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
      ctx.scale(ratio, ratio);
      return ctx;
    },
    remove: () => canvas.remove(),
  };
}
