addEventListener("click", async ({ target }) => {
  if (!(target instanceof HTMLButtonElement)) return;
  const code = target.previousElementSibling;
  getSelection().selectAllChildren(code);
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    document.execCommand("copy"); // files have no clipboard of their own in every browser
  }
  target.textContent = "copied";
  setTimeout(() => { target.textContent = "copy"; }, 1200);
});
addEventListener("hashchange", unfold);
function unfold() {
  const section = document.getElementById(location.hash.slice(1));
  if (section instanceof HTMLDetailsElement) section.open = true;
}
unfold();
