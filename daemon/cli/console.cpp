#include "daemon/cli/console.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>

namespace paretod::cli {
namespace {

int terminal_width() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 100;
}

std::optional<std::string> environment_variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return {};
  return value;
}

}  // namespace

Console system_console() {
  return {.in = std::cin,
          .out = std::cout,
          .err = std::cerr,
          .terminal = isatty(STDOUT_FILENO) == 1,
          .width = terminal_width,
          .environment = environment_variable};
}

}  // namespace paretod::cli
