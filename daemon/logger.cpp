#include "daemon/logger.hpp"

#include <unistd.h>

#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>

namespace paretod {
namespace {

using nlohmann::json;

constexpr std::string_view names[] = {"debug", "info", "warning", "error"};

std::string timestamp() {
  const auto now = std::chrono::system_clock::now();
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
  const std::time_t seconds = ms / 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[40];
  const std::size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
  std::string out(text, size);
  const std::string fraction = std::to_string(1000 + ms % 1000);
  return out + "." + fraction.substr(1) + "Z";
}

json value_json(const Logger::Value& value) {
  return std::visit([](const auto& v) { return json(v); }, value);
}

}  // namespace

void Logger::write(Level level, std::string_view message, std::initializer_list<Field> fields) {
  if (level < minimum_) return;
  std::string line;
  if (format_ == Format::json) {
    nlohmann::ordered_json j = {{"time", timestamp()},
                                {"level", names[static_cast<std::size_t>(level)]},
                                {"message", message}};
    for (const auto& [name, value] : fields) j[std::string(name)] = value_json(value);
    line = j.dump(-1, ' ', false, json::error_handler_t::replace);
  } else {
    line = timestamp().substr(11, 8) + " ";
    if (level != Level::info) {
      line += names[static_cast<std::size_t>(level)];
      line += ": ";
    }
    line += message;
    for (const auto& [name, value] : fields) {
      line += "  ";
      line += name;
      line += '=';
      const json j = value_json(value);
      line += j.is_string() ? j.get<std::string>()
                            : j.dump(-1, ' ', false, json::error_handler_t::replace);
    }
  }
  line += '\n';
  const std::lock_guard lock(mutex_);
  const char* data = line.data();
  std::size_t left = line.size();
  while (left > 0) {
    const ssize_t written = ::write(STDERR_FILENO, data, left);
    if (written <= 0) return;  // nowhere left to say so
    data += written;
    left -= static_cast<std::size_t>(written);
  }
}

}  // namespace paretod
