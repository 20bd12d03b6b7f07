"use strict";

// What every section's script may use. Each script is a module, so that its names are its own.

const parts = [];

globalThis.cfx = {
  /** The data of the section with this id. */
  data: (id) => JSON.parse(document.getElementById(`${id}-data`).textContent),

  /** An element with a class and children; strings become text, never markup. */
  make(tag, className, ...children) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...children);
    return element;
  },

  /** A picture, from the base64 of a PNG file; one that is not tiny is drawn smoothly. */
  picture(base64, text) {
    const image = new Image();
    image.alt = text;
    image.onload = () => image.classList.toggle("fine", Math.max(image.naturalWidth, image.naturalHeight) > 128);
    image.src = `data:image/png;base64,${base64}`;
    return image;
  },

  /**
   * Registers a part of the page that keeps what the reader chose in the URL, so that a view can be linked to:
   * save(state) sets its choices in a URLSearchParams, load(state) reads them and shows the view.
   */
  remembers: (part) => parts.push(part),

  /** Writes the choices of all parts to the URL; "pushState" as a step of the browser's history. */
  remember(how = "replaceState") {
    const state = new URLSearchParams();
    for (const part of parts) part.save(state);
    history[how](null, "", `#${state}`);
  },
};

function recall() {
  const state = new URLSearchParams(location.hash.slice(1));
  for (const part of parts) part.load(state);
}

addEventListener("hashchange", recall);
addEventListener("DOMContentLoaded", recall); // when all modules have run
