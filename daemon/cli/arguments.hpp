#pragma once
// The grammar of the command line: one table of verbs and options from which both the parser and
// the help pages are made.  Pure functions.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "optimizers/core/result.hpp"

namespace paretod::cli {

struct Option {
  enum class Kind { flag, text, count };
  std::string_view name;  ///< "--trials"
  Kind kind = Kind::flag;
  std::string_view value;  ///< what the help calls its value: "N", "FILE"
  std::string_view meaning;
  std::string_view also = {};                  ///< another name: "-o"
  std::vector<std::string_view> choices = {};  ///< text only; empty: any
  bool repeatable = false;                     ///< text only
};

struct Verb {
  std::string_view name;
  std::string_view operand;  ///< "" when it takes none; "[NAME]" when it may be left out
  std::string_view summary;
  std::vector<Option> options;
  bool talks_to_daemon = true;     ///< takes the common options too
  std::string_view examples = {};  ///< lines for the end of its help
};

const std::vector<Verb>& verbs();

/// A checked command line.
struct Arguments {
  const Verb* verb = nullptr;  ///< null for bare --help and --version
  bool help = false;
  bool version = false;
  std::string operand;
  std::multimap<std::string, std::string, std::less<>> options;

  [[nodiscard]] bool has(std::string_view option) const;
  /// The last one given.
  [[nodiscard]] std::optional<std::string> text(std::string_view option) const;
  /// All that were given, in order.
  [[nodiscard]] std::vector<std::string> texts(std::string_view option) const;
  [[nodiscard]] std::optional<std::uint64_t> count(std::string_view option) const;
};

/// Options may stand anywhere, as "--name value" or "--name=value"; "--" ends them.  The error is
/// one sentence for the user.
Result<Arguments> parse_arguments(const std::vector<std::string>& words);

std::string general_help();
std::string help_of(const Verb& verb);

}  // namespace paretod::cli
