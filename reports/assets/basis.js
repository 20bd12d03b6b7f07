"use strict";

// Keeps in the URL which figures are shown: over which basis, and with or without the controls.

for (const name of ["basis", "controls"]) {
  for (const field of document.querySelectorAll(`input[name="${name}"]`)) {
    field.addEventListener("change", () => cfx.remember());
  }
}

cfx.remembers({
  save(state) {
    const basis = document.querySelector('input[name="basis"]:checked');
    if (basis && !basis.defaultChecked) state.set("basis", basis.value);
    if (document.querySelector('input[name="controls"]:checked')) state.set("controls", "");
  },
  load(state) {
    const bases = [...document.querySelectorAll('input[name="basis"]')];
    const known = bases.some((field) => field.value === state.get("basis"));
    for (const field of bases) field.checked = known ? field.value === state.get("basis") : field.defaultChecked;
    for (const field of document.querySelectorAll('input[name="controls"]')) field.checked = state.has("controls");
  },
});
