"use strict";

// Shows what the chosen point of a scatter plot is. One point is a tab stop; arrow keys go from there to the next one.

const { make, picture } = cfx;
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

for (const figure of document.querySelectorAll("[data-scatter]")) {
  const pictures = cfx.data(figure.dataset.scatter);
  const marks = [...figure.querySelectorAll(".mark")]; // in the order of the data
  const caption = figure.querySelector("figcaption");
  const across = marks.map((mark) => mark.transform.baseVal[0].matrix.e);
  const order = marks.map((_, number) => number).sort((a, b) => across[a] - across[b]);
  let current = order[0];

  function choose(number) {
    marks[current].tabIndex = -1;
    marks[current].classList.remove("chosen");
    current = number;
    marks[number].tabIndex = 0;
    marks[number].classList.add("chosen");
    const text = marks[number].getAttribute("aria-label");
    caption.replaceChildren(...(pictures[number] ? [picture(pictures[number], text)] : []), make("p", "", text));
  }

  marks[current].tabIndex = 0;
  marks.forEach((mark, number) => {
    mark.addEventListener("click", () => choose(number));
    mark.addEventListener("focus", () => choose(number));
    mark.addEventListener("keydown", (event) => {
      const step = STEPS[event.key];
      if (!step) return;
      event.preventDefault();
      const place = (order.indexOf(number) + step + order.length) % order.length;
      marks[order[place]].tabIndex = 0;
      marks[order[place]].focus();
    });
  });
}
