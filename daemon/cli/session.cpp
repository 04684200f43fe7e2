#include "daemon/cli/session.hpp"

#include <algorithm>
#include <ostream>

namespace paretod::cli {

Page Session::page() const {
  if (!console.terminal) return {};
  return {static_cast<std::size_t>(std::max(console.width(), 20)), true};
}

void print(std::ostream& out, const Lines& lines) {
  for (const std::string& line : lines) out << line << '\n';
}

void print_document(std::ostream& out, const std::string& text) {
  out << text;
  if (text.empty() || text.back() != '\n') out << '\n';
}

int fail(Console& console, const Error& error) {
  console.err << "paretod: " << error.text() << '\n';
  return error.kind == ErrorKind::unavailable ? exit_unreachable : exit_refused;
}

int fail_usage(Console& console, const std::string& message) {
  console.err << "paretod: " << message << '\n';
  return exit_usage;
}

}  // namespace paretod::cli
