"use strict";
// Sorting, searching and, while a run goes on, asking for news. The page can be read without any of it.

const number = text => {
  const found = text.replace(/,/g, "").replace("−", "-").match(/^[^\d-]?(-?\d+(\.\d+)?)/);
  return found ? Number(found[1]) : NaN;
};

const compare = (a, b) => {
  const [x, y] = [number(a), number(b)];
  if (Number.isNaN(x) && Number.isNaN(y)) return a.localeCompare(b);
  return Number.isNaN(x) ? 1 : Number.isNaN(y) ? -1 : x - y;
};

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows];
      const text = row => row.cells[column].textContent.trim();
      rows.sort((a, b) => compare(text(a), text(b)) * (down ? -1 : 1));
      table.tBodies[0].append(...rows);
    });
  });
}

function searchable(table) {
  const tools = document.createElement("div");
  tools.className = "find";
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = "search these rows";
  input.setAttribute("aria-label", "search these rows");
  const choice = document.createElement("select");
  choice.setAttribute("aria-label", table.tHead.rows[0].cells[0].textContent.trim());
  const rows = [...table.tBodies[0].rows];
  const kinds = [...new Set(rows.map(row => row.cells[0].textContent.trim()))].filter(Boolean);
  for (const kind of ["all", ...kinds]) choice.append(new Option(kind, kind));
  const count = document.createElement("span");
  count.className = "soft";
  count.setAttribute("aria-live", "polite");
  const show = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const kept = words.every(word => text.includes(word));
      row.hidden = !(kept && (choice.value === "all" || row.cells[0].textContent.trim() === choice.value));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${rows.length} rows`;
  };
  input.addEventListener("input", show);
  choice.addEventListener("change", show);
  tools.append(input, ...(table.dataset.choose ? [choice] : []), count);
  table.closest(".scroll").before(tools);
  show();
}

function prepare(place) {
  place.querySelectorAll("table[data-sort]").forEach(sortable);
  place.querySelectorAll("table[data-search]").forEach(searchable);
}

// What a person has opened or typed stays as it is: only parts that are marked as live are put anew, when one changed.
let known = "";

async function news() {
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    const text = await answer.text();
    if (text === known) return setTimeout(news, 2000);
    known = text;
    const fresh = new DOMParser().parseFromString(text, "text/html");
    document.querySelectorAll("[data-live]").forEach(part => {
      const other = document.importNode(fresh.getElementById(part.id), true);
      const typed = part.querySelector("input")?.value;
      part.replaceChildren(...other.childNodes);
      prepare(part);
      if (typed) {
        part.querySelector("input").value = typed;
        part.querySelector("input").dispatchEvent(new Event("input"));
      }
    });
    if (!fresh.body.dataset.news) return location.reload();
  } catch { /* the server has ended: what stands here is the last that was known */ }
  return setTimeout(news, 2000);
}

document.addEventListener("DOMContentLoaded", () => {
  prepare(document);
  if (document.body.dataset.news) setTimeout(news, 2000);
});
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(part => { part.open = true; }));
