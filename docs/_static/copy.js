// A button on every block of code that copies it; of a console block the commands alone, without prompts and output.
const commandsOf = (lines) => {
  const found = [];
  let goesOn = false;
  for (const line of lines) {
    if (goesOn) found.push(line);
    else if (line.startsWith("$ ")) found.push(line.slice(2));
    else continue;
    goesOn = line.endsWith("\\");
  }
  return found;
};

document.addEventListener("DOMContentLoaded", () => {
  for (const block of document.querySelectorAll("div.highlight")) {
    const text = block.querySelector("pre");
    if (!text || !navigator.clipboard || block.closest(".highlight-text")) continue;
    const button = document.createElement("button");
    button.className = "copy";
    button.type = "button";
    button.textContent = "copy";
    button.addEventListener("click", async () => {
      const lines = text.innerText.trimEnd().split("\n");
      const commands = commandsOf(lines);
      await navigator.clipboard.writeText((commands.length ? commands : lines).join("\n"));
      button.textContent = "copied";
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    });
    block.append(button);
  }
});
