// The least an evaluator can do, for measuring what the protocol itself costs: answers every
// request with the objective "f" = 0.  Reads only the id, by its key.

#include <unistd.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace {

void write_all(const std::string& text) {
  std::size_t written = 0;
  while (written < text.size()) {
    const ssize_t count = write(STDOUT_FILENO, text.data() + written, text.size() - written);
    if (count <= 0) return;
    written += static_cast<std::size_t>(count);
  }
}

void answer(std::string_view line, std::string& replies) {
  if (line.find("\"type\":\"evaluate\"") == std::string_view::npos) return;
  constexpr std::string_view key = "\"id\":\"";
  const std::size_t begin = line.find(key) + key.size();
  const std::string_view id = line.substr(begin, line.find('"', begin) - begin);
  ((replies += R"({"type":"result","id":")") += id) += "\",\"objectives\":{\"f\":0}}\n";
}

}  // namespace

int main() {
  write_all(R"({"paretod":1,"type":"hello","evaluator":"trivial","slots":64,)"
            R"("space":[{"name":"x","type":"real","low":0,"high":1}],)"
            R"("objectives":[{"name":"f","goal":"minimize"}]})"
            "\n");
  std::string pending;
  std::string replies;
  char buffer[65536];
  ssize_t count = 0;
  while ((count = read(STDIN_FILENO, buffer, sizeof buffer)) > 0) {
    pending.append(buffer, static_cast<std::size_t>(count));
    replies.clear();
    std::size_t begin = 0;
    for (std::size_t end = 0; (end = pending.find('\n', begin)) != std::string::npos;) {
      answer(std::string_view(pending).substr(begin, end - begin), replies);
      begin = end + 1;
    }
    pending.erase(0, begin);
    write_all(replies);
  }
  return 0;
}
