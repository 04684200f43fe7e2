#include "adapters/redis/aof_repair.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <system_error>
#include <utility>
#include <vector>

#include "adapters/redis/child_process.hpp"

namespace paretod {
namespace {

namespace fs = std::filesystem;

// More than any command of ours, so a longer tail must be something else.
constexpr std::uintmax_t longest_tail = 4 * 1024 * 1024;

/// What redis-check-aof reports of a file that is not whole.
struct Breakage {
  std::string file;
  std::uintmax_t size = 0;
  std::uintmax_t whole = 0;
};

std::string after(const std::string& text, std::size_t from, const std::string& name) {
  const std::size_t at = text.find(name, from);
  if (at == std::string::npos) return {};
  const std::size_t begin = at + name.size();
  return text.substr(begin, text.find_first_of(",\n", begin) - begin);
}

std::optional<Breakage> parse_breakage(const std::string& output) {
  const std::size_t line = output.rfind("AOF analyzed:");
  if (line == std::string::npos) return std::nullopt;
  Breakage breakage;
  breakage.file = after(output, line, "filename=");
  std::istringstream numbers(after(output, line, "size=") + " " + after(output, line, "ok_up_to="));
  if (!(numbers >> breakage.size >> breakage.whole)) return std::nullopt;
  if (breakage.file.empty() || breakage.whole >= breakage.size) return std::nullopt;
  return breakage;
}

/// Names in the order of the manifest, with their type: b, i, or h.
std::vector<std::pair<std::string, char>> parse_manifest(const fs::path& manifest) {
  std::vector<std::pair<std::string, char>> files;
  std::ifstream in(manifest);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string key;
    std::string value;
    std::pair<std::string, char> file{"", '?'};
    while (words >> key >> value) {
      if (key == "file") file.first = value;
      if (key == "type" && !value.empty()) file.second = value[0];
    }
    if (!file.first.empty()) files.push_back(std::move(file));
  }
  return files;
}

/// A torn command can only be the last thing written: at the end of the last file that is not
/// empty.  (A rewrite may have just opened the next one.)
bool is_last_written(const fs::path& folder, const std::string& file) {
  bool found = false;
  for (const auto& [name, type] : parse_manifest(folder / "appendonly.aof.manifest")) {
    std::error_code ignored;
    if (found && type == 'i' && fs::file_size(folder / name, ignored) > 0) return false;
    if (name == file) {
      if (type != 'i') return false;
      found = true;
    }
  }
  return found;
}

std::string read_tail(const fs::path& path, std::uintmax_t from) {
  std::ifstream in(path, std::ios::binary);
  in.seekg(static_cast<std::streamoff>(from));
  return {std::istreambuf_iterator<char>(in), {}};
}

Result<fs::path> copy_aside(const fs::path& directory, const fs::path& file,
                            const Breakage& breakage) {
  const fs::path folder = directory / "aside";
  const fs::path target =
      folder / (file.filename().string() + "." + std::to_string(breakage.whole) + "-of-" +
                std::to_string(breakage.size));
  std::error_code error;
  fs::create_directories(folder, error);
  if (!error && !fs::exists(target, error)) {
    // Under another name until it is complete, so that a half copy is never taken for one.
    const fs::path partial = target.string() + ".partial";
    fs::copy_file(file, partial, fs::copy_options::overwrite_existing, error);
    if (!error) fs::rename(partial, target, error);
    if (error) {
      std::error_code ignored;
      fs::remove(partial, ignored);
    }
  }
  if (error) {
    return Error{ErrorKind::unavailable, "cannot copy " + file.string() + " to " + target.string() +
                                             " before repairing it: " + error.message()};
  }
  return target;
}

/// Copies of torn files lose their interest soon; those of the last two repairs stay.
void drop_old_copies(const fs::path& directory) {
  std::vector<std::pair<fs::file_time_type, fs::path>> copies;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory / "aside", ignored)) {
    copies.emplace_back(entry.last_write_time(ignored), entry.path());
  }
  std::sort(copies.begin(), copies.end());
  for (std::size_t i = 0; i + 2 < copies.size(); ++i) fs::remove(copies[i].second, ignored);
}

void remove_leftovers(const fs::path& directory) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory, ignored)) {
    if (entry.path().filename().string().starts_with("temp-")) fs::remove(entry.path(), ignored);
  }
}

Result<void> check_no_orphans(const fs::path& folder) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().string().ends_with(".incr.aof") && entry.file_size(ignored) > 0) {
      return Error{ErrorKind::corrupt,
                   folder.string() + " holds " + entry.path().filename().string() +
                       " but no manifest, so Redis would ignore it and start empty; restore "
                       "appendonly.aof.manifest from a backup"};
    }
  }
  return {};
}

}  // namespace

bool is_torn_command(std::string_view tail) {
  const std::size_t last = tail.find_last_not_of('\0');
  if (last == std::string_view::npos) return true;
  tail = tail.substr(0, last + 1);

  // A start of a further command, "\r\n*5\r\n$", means that what was written later is there.
  // Events are JSON, which never holds a bare line end.
  for (std::size_t at = tail.find("\r\n*"); at != std::string_view::npos;
       at = tail.find("\r\n*", at + 1)) {
    const std::size_t end = tail.find_first_not_of("0123456789", at + 3);
    if (end != std::string_view::npos && end > at + 3 && tail.substr(end, 3) == "\r\n$") {
      return false;
    }
  }

  enum class Outcome { fine, ended, wrong };
  std::uint64_t number = 0;
  const auto literal = [&tail](std::string_view text) {
    const std::size_t common = std::min(text.size(), tail.size());
    if (tail.substr(0, common) != text.substr(0, common)) return Outcome::wrong;
    tail.remove_prefix(common);
    return common < text.size() ? Outcome::ended : Outcome::fine;
  };
  const auto header = [&](std::string_view mark) {
    if (const Outcome outcome = literal(mark); outcome != Outcome::fine) return outcome;
    const std::size_t digits = std::min(tail.find_first_not_of("0123456789"), tail.size());
    if (tail.empty()) return Outcome::ended;
    if (digits == 0 || digits > 9) return Outcome::wrong;
    std::from_chars(tail.data(), tail.data() + digits, number);
    tail.remove_prefix(digits);
    return literal("\r\n");
  };
  Outcome outcome = header("*");
  for (std::uint64_t left = number; outcome == Outcome::fine && left > 0; --left) {
    outcome = header("$");
    if (outcome != Outcome::fine) break;
    if (tail.size() < number) {
      outcome = Outcome::ended;
      break;
    }
    tail.remove_prefix(number);
    outcome = literal("\r\n");
  }
  return outcome == Outcome::ended;
}

Result<std::string> repair_append_only_files(const fs::path& directory,
                                             const std::string& check_program) {
  remove_leftovers(directory);
  const fs::path folder = directory / "appendonlydir";
  const fs::path manifest = folder / "appendonly.aof.manifest";
  std::error_code ignored;
  if (!fs::exists(manifest, ignored)) {
    if (auto fine = check_no_orphans(folder); !fine) return fine.error();
    return std::string();
  }
  auto checked = run_program({check_program, manifest.string()});
  if (!checked) return checked.error();
  if (checked->succeeded()) return std::string();

  const auto breakage = parse_breakage(checked->output);
  if (!breakage) {
    return Error{ErrorKind::corrupt,
                 "redis-check-aof refuses " + manifest.string() + " (" +
                     describe_exit(checked->status) +
                     "); restore the folder from a backup.  It says: " + checked->output};
  }
  const fs::path file = folder / fs::path(breakage->file).filename();
  auto copy = copy_aside(directory, file, *breakage);
  if (!copy) return copy.error();
  const bool torn = is_last_written(folder, file.filename().string()) &&
                    breakage->size - breakage->whole <= longest_tail &&
                    is_torn_command(read_tail(file, breakage->whole));
  if (!torn) {
    return Error{ErrorKind::corrupt,
                 file.string() + " is damaged at byte " + std::to_string(breakage->whole) + " of " +
                     std::to_string(breakage->size) +
                     ", before its end: paretod does not repair this by itself, because everything "
                     "behind would be lost.  A copy is at " +
                     copy->string() +
                     ".  Restore the file from a backup; or accept the loss and run: "
                     "redis-check-aof --fix " +
                     file.string()};
  }
  // On the file itself: given the manifest, redis-check-aof cuts only the last file listed.
  auto fixed = run_program({check_program, "--fix", file.string()}, "y\n");
  if (!fixed) return fixed.error();
  checked = run_program({check_program, manifest.string()});
  if (!checked) return checked.error();
  if (!fixed->succeeded() || !checked->succeeded()) {
    return Error{ErrorKind::corrupt, "redis-check-aof could not cut the torn end off " +
                                         file.string() + "; it says: " + fixed->output +
                                         checked->output};
  }
  drop_old_copies(directory);
  return "cut a torn, never acknowledged write of " +
         std::to_string(breakage->size - breakage->whole) + " bytes off " +
         file.filename().string() + "; the file as it was is at " + copy->string();
}

}  // namespace paretod
