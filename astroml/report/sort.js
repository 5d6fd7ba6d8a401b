// Turns the heads of sortable tables into buttons; without it they are plain tables.
"use strict";
const order = new Intl.Collator("en", { numeric: true });

function compare(a, b, down) {
  if (a === "" || b === "") return (a === "") - (b === ""); // what is missing stays last
  const x = Number(a), y = Number(b);
  const exact = Number.isNaN(x) || Number.isNaN(y) || x === y;
  const found = exact ? order.compare(a, b) : x - y;
  return down ? -found : found;
}

function sort(table, head, at, numeric) {
  const was = head.getAttribute("aria-sort");
  // Of numbers the highest are wanted first, of words the first in the alphabet.
  const down = was === null ? numeric : was === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = table.tBodies[0];
  const key = (row) => row.cells[at].dataset.key ?? row.cells[at].textContent.trim();
  const rows = [...body.rows].map((row) => [key(row), row]);
  rows.sort((a, b) => compare(a[0], b[0], down));
  body.append(...rows.map((one) => one[1]));
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, at) => {
    if (head.classList.contains("look")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () =>
      sort(table, head, at, head.classList.contains("number")));
  });
}
