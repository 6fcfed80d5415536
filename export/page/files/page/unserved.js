// No module runs where a page is opened as a file, so this is none: the page says there what it lacks.

if (location.protocol === "file:") {
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("status").textContent =
      "Browsers run this page from a web server alone, and not as a file. " +
      "Run `pocketeva page` with the folder that it lies in, and open the address that it prints.";
  });
}
