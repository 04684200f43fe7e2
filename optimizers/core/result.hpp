#pragma once
// Expected failures as values.  A Result<T> holds either a T or an Error; an Error says what is
// wrong in one sentence a user can act on and, for bad input, points at every offending field.
// Exceptions are kept for broken invariants and for unwinding a search (see evaluations.hpp).

#include <cassert>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace paretod {

/// What the caller can do about an error; the REST edge maps each kind to one HTTP status.
enum class ErrorKind {
  invalid,      ///< the input is wrong; see `problems`
  not_found,    ///< no such thing
  conflict,     ///< not possible in the present state
  unavailable,  ///< try again later; nothing was changed
  denied,       ///< not allowed
  exhausted,    ///< a limit or budget is reached
  corrupt,      ///< stored data cannot be trusted; an operator has to look
  internal,     ///< a defect of paretod itself
};

/// One offending field: an RFC 6901 JSON pointer ("" is the whole document) and a sentence.
struct Problem {
  std::string pointer;
  std::string message;
};
using Problems = std::vector<Problem>;

struct Error {
  ErrorKind kind = ErrorKind::internal;
  std::string message;
  Problems problems = {};

  /// The message followed by each problem, for logs and terminals.
  [[nodiscard]] std::string text() const {
    std::string out = message;
    for (const Problem& problem : problems) {
      out += "\n  " + (problem.pointer.empty() ? std::string("(document)") : problem.pointer) +
             ": " + problem.message;
    }
    return out;
  }
};

/// "The spec is invalid" plus its problems.
inline Error invalid(std::string message, Problems problems = {}) {
  return Error{ErrorKind::invalid, std::move(message), std::move(problems)};
}

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  /// Precondition of value(), * and ->: ok().  Precondition of error(): !ok().
  T& value() & { return assert(ok()), std::get<0>(state_); }
  const T& value() const& { return assert(ok()), std::get<0>(state_); }
  T&& value() && { return assert(ok()), std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  [[nodiscard]] const Error& error() const { return assert(!ok()), std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit

  [[nodiscard]] bool ok() const { return !error_; }
  explicit operator bool() const { return ok(); }
  [[nodiscard]] const Error& error() const { return assert(error_), *error_; }

 private:
  std::optional<Error> error_;
};

}  // namespace paretod
