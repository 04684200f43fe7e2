#pragma once
// Structured logs: one line per happening on standard error, JSON for machines or plain text for
// a terminal.  Thread-safe; a line is written whole.

#include <cstdint>
#include <initializer_list>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace paretod {

class Logger {
 public:
  enum class Level { debug, info, warning, error };
  enum class Format { json, text };
  using Value = std::variant<std::string, std::int64_t, double, bool>;
  using Field = std::pair<std::string_view, Value>;

  Logger(Level minimum, Format format) : minimum_(minimum), format_(format) {}

  void debug(std::string_view message, std::initializer_list<Field> fields = {}) {
    write(Level::debug, message, fields);
  }
  void info(std::string_view message, std::initializer_list<Field> fields = {}) {
    write(Level::info, message, fields);
  }
  void warning(std::string_view message, std::initializer_list<Field> fields = {}) {
    write(Level::warning, message, fields);
  }
  void error(std::string_view message, std::initializer_list<Field> fields = {}) {
    write(Level::error, message, fields);
  }

 private:
  void write(Level level, std::string_view message, std::initializer_list<Field> fields);

  const Level minimum_;
  const Format format_;
  std::mutex mutex_;
};

}  // namespace paretod
