
"use strict";
{
  // The table of clips is complete without this: here it learns to sort and to filter.
  const table = document.getElementById("clip-table");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const filter = document.getElementById("filter");
  const split = document.getElementById("split");
  const count = document.getElementById("count");
  const textOf = new Map(rows.map((row) =>
    [row, `${row.cells[0].textContent} ${row.cells[1].firstElementChild.title}`.toLowerCase()]));

  const valueOf = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
  };

  const compare = (a, b) => typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true });

  const sortBy = (column) => {
    const rising = heads[column].getAttribute("aria-sort") !== "ascending";
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", rising ? "ascending" : "descending");
    rows.sort((a, b) => (rising ? 1 : -1) * compare(valueOf(a, column), valueOf(b, column)));
    body.append(...rows);
  };

  const show = () => {
    const words = filter.value.toLowerCase().split(/\s+/);
    let shown = 0;
    for (const row of rows) {
      const wanted = words.every((word) => textOf.get(row).includes(word))
        && (!split.value || row.cells[2].textContent === split.value);
      row.hidden = !wanted;
      shown += wanted;
    }
    count.textContent = `${shown.toLocaleString()} of ${rows.length.toLocaleString()} clips`;
  };

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => sortBy(column));
    head.replaceChildren(button);
  });
  filter.addEventListener("input", show);
  split.addEventListener("change", show);
  document.querySelector(".controls").hidden = false;
  show();
}
