"use strict";
{
  // Tables are complete without this: here they learn to sort, and that of clips to filter.
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
  };

  const compare = (a, b) => typeof a === "number" && typeof b === "number"
    ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });

  const makeSortable = (table) => {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    const sortBy = (column) => {
      const rising = heads[column].getAttribute("aria-sort") !== "ascending";
      heads.forEach((head) => head.removeAttribute("aria-sort"));
      heads[column].setAttribute("aria-sort", rising ? "ascending" : "descending");
      const rows = [...body.rows];
      rows.sort((a, b) => (rising ? 1 : -1) * compare(valueOf(a, column), valueOf(b, column)));
      body.append(...rows);
    };
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      button.addEventListener("click", () => sortBy(column));
      head.replaceChildren(button);
    });
  };

  const makeFilter = (table, filter, split, count) => {
    const rows = [...table.tBodies[0].rows];
    const textOf = new Map(rows.map((row) =>
      [row, `${row.cells[0].textContent} ${row.cells[1].firstElementChild.title}`.toLowerCase()]));
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
    filter.addEventListener("input", show);
    split.addEventListener("change", show);
    document.querySelector(".controls").hidden = false;
    show();
  };

  document.querySelectorAll("table.clips").forEach(makeSortable);
  const clips = document.getElementById("clip-table");
  if (clips) {
    makeFilter(clips, ...["filter", "split", "count"].map((name) => document.getElementById(name)));
  }
}
